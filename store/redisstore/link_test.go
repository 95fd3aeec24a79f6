package redisstore

import (
	"sync"

	"github.com/redis/go-redis/v9"
)

var plainClients sync.Map // by link

// plain returns a client for what a test asks Redis itself.
func (l *link) plain() redis.UniversalClient {
	client, ok := plainClients.Load(l)
	if !ok {
		client, _ = plainClients.LoadOrStore(l, redis.NewUniversalClient(l.config.options()))
	}
	return client.(redis.UniversalClient)
}
