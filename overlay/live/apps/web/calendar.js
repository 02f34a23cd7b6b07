APPS.calendar = {
  first: 'month',
  screens: {
    month: () => page('Calendar|日历', `<div class="month">${Array.from({length: 30}, (_, n) => n + 1).map(day =>
      tap(`day ${S.events.some(one => one.day === day) ? 'on' : ''}`, `go:day:${day}`, String(day), day)).join('')}</div>`,
      {add: 'new:1', foot: tabs([['Month|月', 'no:'], ['All events|全部日程', 'go:list']])}),
    day: day => page(`${t('Day|日期')} ${day}`, S.events.map((one, i) => one.day === Number(day) ? APPS.calendar.line(one, i) : '').join('') +
      button('New event|新建日程', `new:${day}`)),
    list: () => page('All events|全部日程', S.events.map((one, i) => APPS.calendar.line(one, i, true)).join('')),
    event: i => page(S.events[i].title || t('Untitled|无标题'), field('Title|标题', `events.${i}.title`) + field('Place|地点', `events.${i}.place`) +
      stepper('Day|日期', `events.${i}.day`) + stepper('Hour|小时', `events.${i}.hour`) + toggle('Reminder|提醒', `events.${i}.reminds`) +
      row(t('Guests|参与人'), `go:guests:${i}`, {end: S.events[i].guests.length}) + button('Delete event|删除日程', `ask:del:events.${i}`)),
    guests: i => page('Guests|参与人', S.events[i].guests.map((name, n) => row(name, `drop:events.${i}.guests.${n}`, {end: '×'})).join(''),
      {foot: beside(field('Name|姓名', 'ui.draft'), button('Invite|邀请', `invite:${i}`))}),
  },
  acts: {
    new: day => {
      S.events.push({title: '', place: '', day: Number(day), hour: 9, reminds: false, guests: []});
      VERBS.go('event', S.events.length - 1);
    },
    invite: i => { if (S.ui.draft) S.events[i].guests.push(S.ui.draft); S.ui.draft = ''; },
    drop: path => { const [at, , key] = walk(path); at.splice(Number(key), 1); },
  },
  line: (one, i, day) => row(one.title, `go:event:${i}`, {sub: one.place, sign: one.reminds ? 'bell' : 'disc',
    end: `${day ? `${one.day} · ` : ''}${one.hour}:00`}),
};
