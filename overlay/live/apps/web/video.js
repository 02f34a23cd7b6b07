APPS.video = {
  first: 'videos',
  screens: {
    videos: () => page('Videos|视频', S.videos.map((video, i) => tap('row', `play:${i}`, video.title, icon(video.sign) +
      `<span class="text"><b>${esc(video.title)}</b><i>${esc(video.channel)}</i></span><span class="end">${APPS.video.time(video)}</span>`,
      `go:more:${i}`)).join(''), {foot: tabs([['All|全部', 'no:'], ['Later|稍后', 'go:later'], ['Channels|频道', 'go:channels']])}),
    video: i => page(S.videos[i].title, `<div class="art">${icon(S.videos[i].sign)}</div>` +
      toggle('Like|喜欢', `videos.${i}.liked`) + toggle('Watch later|稍后再看', `videos.${i}.later`) +
      row(t('Speed|播放速度'), 'go:speed', {end: `${S.speed}×`}) + row(t('Comments|评论'), `go:comments:${i}`, {end: S.videos[i].comments.length})),
    more: i => page(S.videos[i].title, toggle('Watch later|稍后再看', `videos.${i}.later`) +
      button('Not interested|不感兴趣', `ask:del:videos.${i}`)),
    speed: () => page('Speed|播放速度', [0.5, 1, 1.5, 2].map(n => choice(`${n}×`, 'speed', n)).join('')),
    comments: i => page('Comments|评论', S.videos[i].comments.map(text => row(text, '')).join(''),
      {foot: beside(field('Comment|评论', 'ui.draft'), button('Send|发送', `comment:${i}`))}),
    later: () => page('Watch later|稍后再看', S.videos.map((video, i) => video.later ? beside(row(video.title, `play:${i}`),
      tap('row', `set:videos.${i}.later:false`, `${video.title} ×`, '×')) : '').join('')),
    channels: () => page('Channels|频道', S.channels.map((channel, i) => row(channel.name, `flip:channels.${i}.follows`,
      {end: `<u class="switch ${channel.follows ? 'on' : ''}"></u>`})).join('')),
  },
  acts: {
    play: i => { S.playing = S.videos[i].title; VERBS.go('video', i); },
    comment: i => { if (S.ui.draft) S.videos[i].comments.push(S.ui.draft); S.ui.draft = ''; },
  },
  time: video => `${video.minutes}:${String(video.seconds).padStart(2, '0')}`,
};
