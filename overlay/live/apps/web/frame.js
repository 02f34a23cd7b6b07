// The phone's frame and its widgets. S: the state, a JSON object; S.ui: where one is and what is half typed, which no
// judge looks at. An app is {first, screens: name -> (arg) => html, acts: verb -> (path, value)}; elements carry what a
// tap (data-do) or a long press (data-hold) does: "verb:path:value", and their name (data-n).
const APPS = {};
let S, LANG, APP;

const t = pair => pair.includes('|') ? pair.split('|')[LANG === 'zh' ? 1 : 0] : pair;
const esc = text => String(text).replace(/[&<>"]/g, c => ({'&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;'}[c]));
const walk = path => path.split('.').reduce(([, at], key) => [at, at?.[key], key], [null, S]);
const get = path => walk(path)[1];
const put = (path, value) => { const [at, , key] = walk(path); at[key] = value; };
const home = () => { S.ui.stack.length = 1; };

const VERBS = {
  go: (name, arg) => S.ui.stack.push([name, arg]),
  back: () => S.ui.stack.length > 1 && S.ui.stack.pop(),
  focus: path => { S.ui.focus = path; },
  clear: path => { put(path, ''); S.ui.focus = path; },
  flip: path => put(path, !get(path)),
  set: (path, value) => put(path, JSON.parse(value)),
  add: (path, value) => put(path, Math.max(0, get(path) + Number(value))),
  del: path => { const [at, , key] = walk(path); at.splice(Number(key), 1); home(); },
  ask: (path, value) => { S.ui.ask = [path, value].join(':'); },
  no: () => {},
};

function run(does) {
  const [verb, path, ...rest] = does.split(':'), depth = S.ui.stack.length;
  S.ui.ask = S.ui.focus = null;
  (APP.acts?.[verb] ?? VERBS[verb])(path, rest.join(':'));
  render(depth !== S.ui.stack.length);
}

const icon = name => `<svg viewBox="-2 -2 28 28"><path fill="currentColor" d="${ICONS[name]}"/></svg>`;
const tap = (kind, does, name, inside, hold = '') =>
  `<div class="tap ${kind}" data-do="${esc(does)}" data-hold="${esc(hold)}" data-n="${esc(name)}">${inside}</div>`;
const row = (text, does, {sub = '', end = '', hold = '', sign = ''} = {}) => tap('row', does, text,
  (sign ? icon(sign) : '') + `<span class="text"><b>${esc(text)}</b>${sub ? `<i>${esc(sub)}</i>` : ''}</span>` +
  `<span class="end">${end}</span>`, hold);
const label = text => `<div class="label">${esc(text)}</div>`;
const button = (pair, does) => tap('button', does, t(pair), esc(t(pair)));
const toggle = (pair, path) => row(t(pair), `flip:${path}`, {end: `<u class="switch ${get(path) ? 'on' : ''}"></u>`});
const tick = (pair, path) => row(t(pair), `flip:${path}`, {end: `<u class="check ${get(path) ? 'on' : ''}"></u>`});
const choice = (pair, path, value) => row(t(pair), `set:${path}:${JSON.stringify(value)}`,
  {end: `<u class="radio ${get(path) === value ? 'on' : ''}"></u>`});
const stepper = (pair, path, shown = get(path), by = 1) => `<div class="row"><span class="text"><b>${esc(t(pair))}</b></span>` +
  tap('round', `add:${path}:-${by}`, `${t(pair)} −`, '−') + `<span class="value">${esc(shown)}</span>` +
  tap('round', `add:${path}:${by}`, `${t(pair)} +`, '+') + '</div>';
const field = (pair, path) => `<div class="around">` + tap(`field ${S.ui.focus === path ? 'on' : ''}`, `focus:${path}`, t(pair),
  get(path) ? esc(get(path)) : `<em>${esc(t(pair))}</em>`) +
  (get(path) ? tap('round', `clear:${path}`, `${t(pair)} ×`, '×') : '') + '</div>';
const tabs = pairs => `<nav>${pairs.map(([pair, does]) => tap('tab', does, t(pair), esc(t(pair)))).join('')}</nav>`;
const beside = (...parts) => `<div class="beside">${parts.join('')}</div>`;
const page = (title, body, {foot = '', add = ''} = {}) =>
  `<header>${S.ui.stack.length > 1 ? tap('sign', 'back', t('Back|返回'), '‹') : ''}<h1>${esc(t(title))}</h1>` +
  (add ? tap('sign', add, t('New|新建'), '+') : '') + `</header><main>${body}</main>${foot}`;

function render(begin) {
  const [name, arg] = S.ui.stack.at(-1), at = begin ? 0 : document.querySelector('main')?.scrollTop ?? 0;
  document.querySelector('#phone').innerHTML = APP.screens[name](arg) + (S.ui.ask ? '<div class="veil"></div>' +
    `<div class="sheet">${label(t('Really?|确定吗？'))}${beside(button('Cancel|取消', 'no:'), button('Yes|确定', S.ui.ask))}</div>` : '');
  document.querySelector('main').scrollTop = at;
}

function begin(app, state, lang, colours) {
  APP = APPS[app]; LANG = lang;
  S = {...state, ui: {stack: [[APP.first]], focus: null, ask: null, draft: '', query: ''}};
  document.querySelector('#phone').style = colours;
  render(true);
}

const data = () => { const {ui, ...rest} = S; return rest; };
const met = (x, y) => document.elementFromPoint(x, y)?.closest('.tap');

function touch(x, y, hold) {  // a finger at CSS pixels; whether there was something to do
  const does = met(x, y)?.dataset[hold ? 'hold' : 'do'];
  if (does) run(does);
  return Boolean(does);
}

function write(text) {
  if (S.ui.focus === null) return false;
  put(S.ui.focus, get(S.ui.focus) + text);
  render(false);
  return true;
}

function scroll(by) {
  const main = document.querySelector('main'), was = main.scrollTop;
  main.scrollTop += by;
  return main.scrollTop !== was;
}

// What a finger has to do next for an oracle's step: ["type", text], [gesture, box, name] or ["swipe", path]; null when
// no element does that.
function due(step) {
  if (step.startsWith('type:')) return ['type', step.slice(5)];
  const hold = step.startsWith('hold:'), does = hold ? step.slice(5) : step;
  const element = [...document.querySelectorAll('.tap')].find(e => e.dataset[hold ? 'hold' : 'do'] === does);
  if (!element) return null;
  const box = element.getBoundingClientRect(), x = (box.left + box.right) / 2, y = (box.top + box.bottom) / 2;
  if (met(x, y) === element) return [hold ? 'long_click' : 'click', [box.left, box.top, box.right, box.bottom], element.dataset.n];
  const main = document.querySelector('main').getBoundingClientRect();
  if (!element.closest('main') || (y >= main.top && y <= main.bottom)) return null;
  return ['swipe', y > main.bottom ? [112, 280, 112, 140] : [112, 140, 112, 280]];
}

function rehearse(steps) {  // all that `due` says until the last step is done, then the start again; null if it cannot be
  const start = JSON.stringify(S), found = [];
  for (const step of steps) {
    for (let tries = 0; ; tries++) {
      const next = due(step);
      if (!next || tries > 9) return null;
      found.push(next);
      if (next[0] === 'swipe') { if (!scroll(next[1][1] - next[1][3])) return null; continue; }
      if (next[0] === 'type') { if (!write(next[1])) return null; }
      else touch((next[1][0] + next[1][2]) / 2, (next[1][1] + next[1][3]) / 2, next[0] === 'long_click');
      break;
    }
  }
  S = JSON.parse(start);
  render(true);
  return found;
}
