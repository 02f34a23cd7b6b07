APPS.settings = {
  first: 'all',
  screens: {
    all: () => page('Settings|设置', row(t('Network|网络'), 'go:network', {sign: 'arrow'}) + row(t('Sound|声音'), 'go:sound', {sign: 'bell'}) +
      row(t('Display|显示'), 'go:display', {sign: 'square'}) + row(t('Privacy|隐私'), 'go:privacy', {sign: 'flag'}) +
      row(t('About phone|关于手机'), 'go:about', {sign: 'menu', sub: S.device})),
    network: () => page('Network|网络', toggle('Wi-Fi|无线网络', 'wifi') + toggle('Bluetooth|蓝牙', 'bluetooth') +
      toggle('Airplane mode|飞行模式', 'airplane') + toggle('Data saver|省流量', 'saver') +
      label(t('Networks|可用网络')) + S.networks.map((name, i) => row(name, `go:join:${i}`, {end: S.joined === name ? t('Joined|已连接') : ''})).join('')),
    join: i => page(S.networks[i], S.joined === S.networks[i] ? button('Forget|忘记网络', 'set:joined:null')
      : field('Password|密码', 'ui.draft') + button('Join|加入', `join:${i}`)),
    sound: () => page('Sound|声音', stepper('Volume|音量', 'volume') + toggle('Vibrate|振动', 'vibrate') + label(t('Ringtone|铃声')) +
      S.tones.map(tone => choice(tone, 'tone', tone)).join('')),
    display: () => page('Display|显示', toggle('Dark mode|深色模式', 'dark') + stepper('Brightness|亮度', 'brightness') +
      label(t('Font size|字体大小')) + ['small', 'medium', 'large'].map((size, i) =>
        choice(['Small|小', 'Medium|中', 'Large|大'][i], 'font', size)).join('')),
    privacy: () => page('Privacy|隐私', toggle('Location|定位', 'location') + toggle('Camera access|相机权限', 'camera') +
      toggle('Microphone access|麦克风权限', 'microphone')),
    about: () => page('About phone|关于手机', label(t('Device name|设备名称')) + field('Device name|设备名称', 'device')),
  },
  acts: {join: i => { if (S.ui.draft === S.passwords[i]) { S.joined = S.networks[i]; home(); } S.ui.draft = ''; }},
};
