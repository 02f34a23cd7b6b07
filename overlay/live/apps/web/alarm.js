APPS.alarm = {
  first: 'alarms',
  screens: {
    alarms: () => page('Alarms|闹钟', S.alarms.map((alarm, i) => beside(
      row(APPS.alarm.clock(alarm), `go:alarm:${i}`, {sub: alarm.label}),
      tap('row', `flip:alarms.${i}.on`, `${APPS.alarm.clock(alarm)} ${t('switch|开关')}`, `<u class="switch ${alarm.on ? 'on' : ''}"></u>`))).join(''),
      {add: 'new:', foot: tabs([['Alarms|闹钟', 'no:'], ['Timer|计时器', 'go:timer']])}),
    alarm: i => page(APPS.alarm.clock(S.alarms[i]), stepper('Hour|小时', `alarms.${i}.hour`) +
      stepper('Minute|分钟', `alarms.${i}.minute`, S.alarms[i].minute, 5) + field('Label|标签', `alarms.${i}.label`) +
      toggle('Vibrate|振动', `alarms.${i}.vibrate`) + row(t('Repeat|重复'), `go:days:${i}`) +
      button('Delete alarm|删除闹钟', `ask:del:alarms.${i}`)),
    days: i => page('Repeat|重复', 'Monday|星期一,Tuesday|星期二,Wednesday|星期三,Thursday|星期四,Friday|星期五,Saturday|星期六,Sunday|星期日'
      .split(',').map((day, n) => tick(day, `alarms.${i}.days.${n}`)).join('')),
    timer: () => page('Timer|计时器', stepper('Minutes|分钟数', 'timer.minutes') +
      button(S.timer.runs ? 'Stop|停止' : 'Start|开始', 'flip:timer.runs')),
  },
  acts: {
    new: () => {
      S.alarms.push({hour: 7, minute: 0, label: '', on: true, vibrate: false, days: Array(7).fill(false)});
      VERBS.go('alarm', S.alarms.length - 1);
    },
  },
  clock: alarm => `${String(alarm.hour).padStart(2, '0')}:${String(alarm.minute).padStart(2, '0')}`,
};
