package redisstore

import (
	"strings"

	"github.com/redis/go-redis/v9"
)

// announcements are messages that tell other instances of new entries. They are sent in one pipeline with the entries,
// behind them, so other instances learn of an entry as soon as Redis has it.
type announcements map[string]*redis.Cmd // by instance

// announce returns the messages for the instances that listen to streams, as far as a shard has their inboxes.
func (s *redisStore) announce(to *shard, ids []string) announcements {
	var all announcements
	for instance, news := range s.readers.news(ids) {
		key := s.keys.inbox(instance)
		if s.link.shardOf(key) != to {
			continue
		}
		if all == nil {
			all = make(announcements)
		}
		args := []any{"evalsha", tellScript.Hash(), 1, key}
		all[instance] = redis.NewCmd(s.ctx, append(args, tellArgs(orderNews, strings.Join(news, ","))...)...)
	}
	return all
}

// announced tells the instances of entries that Redis has taken which no announcement has told.
func (s *redisStore) announced(already announcements, ids []string) {
	for instance, news := range s.readers.news(ids) {
		if told := already[instance]; told == nil || told.Err() != nil {
			s.orders.news(instance, news...)
		}
	}
}

// tellArgs returns the arguments of tell.lua.
func tellArgs(kind, ids string) []any {
	return []any{controlTime.Milliseconds(), maxMessages, kind, ids}
}
