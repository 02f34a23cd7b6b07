# make help: the Makefile's goals under their headings; `words`: a file of English and Chinese, or nothing.
BEGIN {
  while (words && (getline line < words) > 0) { at = index(line, "\t"); zh[substr(line, 1, at - 1)] = substr(line, at + 1) }
  FS = ":.*## "
}
function said(text) { return text in zh ? zh[text] : text }
/^##@/ { printf "\n%s\n", said(substr($0, 5)) }
/^[a-z-]+:.*## / { printf "  %-16s %s\n", $1, said($2) }
