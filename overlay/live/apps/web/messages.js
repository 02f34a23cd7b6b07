APPS.messages = {
  first: 'chats',
  screens: {
    chats: () => page('Messages|消息', S.chats.map((chat, i) => row(chat.name, `go:chat:${i}`, {
      sub: chat.lines.at(-1)?.text ?? '', sign: 'disc',
      end: (chat.pinned ? '▲ ' : '') + (chat.muted ? '✕ ' : '') + (chat.unread ? '● ' : ''),
    })).join('')),
    chat: i => page(S.chats[i].name, tap('row', `go:more:${i}`, t('Options|选项'), esc(t('Options|选项')) + ' ›') +
      S.chats[i].lines.map((line, n) => tap(`line ${line.me ? 'me' : ''}`, '', line.text,
        esc(line.text) + (line.starred ? ' ★' : ''), `go:line:${i}.lines.${n}`)).join(''),
      {foot: beside(field('Message|信息', 'ui.draft'), button('Send|发送', `send:${i}`))}),
    more: i => page(S.chats[i].name, toggle('Mute|免打扰', `chats.${i}.muted`) + toggle('Pin to top|置顶', `chats.${i}.pinned`) +
      toggle('Unread|未读', `chats.${i}.unread`) + toggle('Block|拉黑', `chats.${i}.blocked`) +
      button('Delete chat|删除聊天', `ask:del:chats.${i}`)),
    line: at => page('Message|信息', label(get(`chats.${at}.text`)) + toggle('Star|收藏', `chats.${at}.starred`) +
      button('Delete message|删除信息', `ask:drop:chats.${at}`)),
  },
  acts: {
    send: i => {
      if (S.ui.draft) S.chats[i].lines.push({me: true, text: S.ui.draft, starred: false});
      S.ui.draft = '';
    },
    drop: path => { const [at, , key] = walk(path); at.splice(Number(key), 1); VERBS.back(); },
  },
};
