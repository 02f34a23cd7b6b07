APPS.notes = {
  first: 'notes',
  screens: {
    notes: () => page('Notes|笔记', S.notes.map((note, i) => row(note.title || t('Untitled|无标题'), `go:note:${i}`, {
      sub: note.text, sign: note.pinned ? 'flag' : 'square', end: note.tasks.length ? `${note.tasks.filter(one => one.done).length}/${note.tasks.length}` : '',
    })).join(''), {add: 'new', foot: tabs([['Notes|笔记', 'no:'], [`${t('Archive|归档')} ${S.archive.length}`, 'go:archive']])}),
    note: i => page(S.notes[i].title || t('Untitled|无标题'), field('Title|标题', `notes.${i}.title`) + field('Text|正文', `notes.${i}.text`) +
      S.notes[i].tasks.map((one, n) => tick(one.text, `notes.${i}.tasks.${n}.done`)).join('') +
      toggle('Pin|置顶', `notes.${i}.pinned`) + row(t('Colour|颜色'), `go:colour:${i}`, {end: t(S.notes[i].colour)}) +
      row(t('Add an item|添加事项'), `go:item:${i}`) + beside(button('Archive|归档', `store:${i}`), button('Delete|删除', `ask:del:notes.${i}`))),
    item: i => page('New item|新事项', field('Text|正文', 'ui.draft') + button('Add|添加', `item:${i}`)),
    colour: i => page('Colour|颜色', ['red|红色', 'green|绿色', 'blue|蓝色', 'none|无'].map(pair => choice(pair, `notes.${i}.colour`, pair)).join('')),
    archive: () => page('Archive|归档', S.archive.map((note, n) => row(note.title, `restore:${n}`, {end: t('Restore|恢复')})).join('')),
  },
  acts: {
    new: () => { S.notes.push({title: '', text: '', pinned: false, colour: 'none|无', tasks: []}); VERBS.go('note', S.notes.length - 1); },
    item: i => { if (S.ui.draft) { S.notes[i].tasks.push({text: S.ui.draft, done: false}); S.ui.draft = ''; VERBS.back(); } },
    store: i => { S.archive.push(...S.notes.splice(Number(i), 1)); home(); },
    restore: n => S.notes.push(...S.archive.splice(Number(n), 1)),
  },
};
