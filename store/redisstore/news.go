package redisstore

import (
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// announcements are messages that tell other instances of new entries. They are sent in one pipeline with the entries,
// behind them, so other instances learn of an entry as soon as Redis has it.
type announcements map[string]announcement // by instance

// announcement is a message to one instance.
type announcement struct {
	ids     []string
	command *redis.Cmd
}

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
		args = append(args, tellArgs(orderNews, strings.Join(news, ","))...)
		all[instance] = announcement{news, redis.NewCmd(s.ctx, args...)}
	}
	return all
}

// announced tells the instances of entries that Redis has taken which no announcement has told. An instance may have
// begun to listen to a stream after the announcements were made.
func (s *redisStore) announced(already announcements, ids []string) {
	for instance, news := range s.readers.news(ids) {
		if told := already[instance]; told.command != nil && told.command.Err() == nil {
			news = without(news, told.ids)
		}
		if len(news) > 0 {
			s.orders.news(instance, news...)
		}
	}
}

// without returns the ids that are not among others. Both lists have their ids in the same order.
func without(ids, others []string) (rest []string) {
	for _, id := range ids {
		if i := slices.Index(others, id); i >= 0 {
			others = others[i+1:]
		} else {
			rest = append(rest, id)
		}
	}
	return rest
}

// tellArgs returns the arguments of tell.lua.
func tellArgs(kind, ids string) []any {
	return []any{controlTime.Milliseconds(), maxMessages, kind, ids}
}
