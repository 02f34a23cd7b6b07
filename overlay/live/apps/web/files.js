APPS.files = {
  first: 'top',
  screens: {
    top: () => page('Files|文件', S.folders.map((name, n) => row(name, `go:folder:${n}`, {sign: 'square',
      end: S.files.filter(file => file.folder === name).length})).join(''),
      {add: 'go:new', foot: tabs([['Folders|文件夹', 'no:'], ['Starred|星标', 'go:starred'], [`${t('Bin|回收站')} ${S.bin.length}`, 'go:bin']])}),
    new: () => page('New folder|新建文件夹', field('Name|名称', 'ui.draft') + button('Create|创建', 'make')),
    folder: n => page(S.folders[n], S.files.map((file, i) => file.folder !== S.folders[n] ? '' : row(file.name, `go:file:${i}`,
      {sub: `${file.size} KB`, sign: file.sign, end: file.starred ? '★' : ''})).join('')),
    file: i => page(S.files[i].name, label(`${S.files[i].size} KB, ${S.files[i].folder}`) + toggle('Star|星标', `files.${i}.starred`) +
      row(t('Rename|重命名'), `go:rename:${i}`) + row(t('Move to|移动到'), `go:move:${i}`) + row(t('Copy|复制'), `copy:${i}`) +
      button('Delete|删除', `ask:bin:${i}`)),
    rename: i => page('Rename|重命名', field('Name|名称', `files.${i}.name`)),
    move: i => page('Move to|移动到', S.folders.map(name => choice(name, `files.${i}.folder`, name)).join('')),
    starred: () => page('Starred|星标', S.files.map((file, i) => file.starred ? row(file.name, `go:file:${i}`) : '').join('')),
    bin: () => page('Bin|回收站', S.bin.map((file, n) => row(file.name, `restore:${n}`, {end: t('Restore|恢复')})).join('') +
      (S.bin.length ? button('Empty the bin|清空回收站', 'ask:set:bin:[]') : '')),
  },
  acts: {
    make: () => { if (S.ui.draft) { S.folders.push(S.ui.draft); S.ui.draft = ''; home(); } },
    copy: i => { S.files.push({...S.files[i], name: `${S.files[i].name} 2`}); home(); },
    bin: i => { S.bin.push(...S.files.splice(Number(i), 1)); home(); },
    restore: n => S.files.push(...S.bin.splice(Number(n), 1)),
  },
};
