package redis

import "github.com/redis/go-redis/v9"

// listen wakes groups that have something to get. That they are not told, when a connection breaks, they notice by looking
// once in a while.
func (s *Stream) listen() {
	for m := range s.news.ChannelWithSubscriptions() {
		switch m := m.(type) {
		case *redis.Subscription: // whatever came before it was not told
			s.tell(m.Channel, func(g *group) { g.wake(true, true) })
		case *redis.Message:
			if m.Payload == "" {
				s.tell(m.Channel, func(g *group) { g.wake(true, false) })
			} else {
				s.tell(m.Channel, func(g *group) {
					if g.name == m.Payload {
						g.wake(false, true)
					}
				})
			}
		}
	}
}

// tell tells the groups of a topic, by its channel.
func (s *Stream) tell(channel string, what func(g *group)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for g := range s.groups[channel] {
		what(g)
	}
}

// enter makes a group one that is told of news of its topic.
func (s *Stream) enter(g *group) {
	channel := g.keys.stream
	s.mu.Lock()
	if s.groups[channel] == nil {
		s.groups[channel] = make(map[*group]struct{})
	}
	s.groups[channel][g] = struct{}{}
	s.mu.Unlock()
	s.follow(channel)
}

// exit undoes that.
func (s *Stream) exit(g *group) {
	channel := g.keys.stream
	s.mu.Lock()
	delete(s.groups[channel], g)
	if len(s.groups[channel]) == 0 {
		delete(s.groups, channel)
	}
	s.mu.Unlock()
	s.follow(channel)
}

// follow subscribes to a channel for as long as there are groups that want it. Where that fails, it is repeated when the
// connection is back.
func (s *Stream) follow(channel string) {
	s.following.Lock()
	defer s.following.Unlock()
	s.mu.Lock()
	wanted := len(s.groups[channel]) > 0
	s.mu.Unlock()
	switch {
	case wanted == s.followed[channel]:
	case wanted:
		s.followed[channel] = true
		_ = s.news.Subscribe(s.ctx, channel)
	default:
		delete(s.followed, channel)
		_ = s.news.Unsubscribe(s.ctx, channel)
	}
}

// find returns a group that takes more members here; nil when there is none.
func (s *Stream) find(k keys, name string) *group {
	s.mu.Lock()
	defer s.mu.Unlock()
	for g := range s.groups[k.stream] {
		if g.name == name && !g.loner {
			return g
		}
	}
	return nil
}
