package redisstore

import (
	"context"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/illumichat/caddy-illumichat/store"
)

// source is a stream that is written here: into memory, and from there into Redis when that takes it.
type source struct {
	store.Source
	replica *replica
}

func (s *source) Append(ctx context.Context, chunk store.Chunk) error {
	if err := s.Source.Append(ctx, chunk); err != nil {
		return err
	}
	s.replica.add(chunk, nil)
	return nil
}

// Finish waits for Redis when the process exits, as nobody else would.
func (s *source) Finish(last store.Chunk, end store.End) {
	kept := s.replica.isKept() // afterwards, others may have taken its room
	s.Source.Finish(last, end)
	if kept {
		s.replica.add(last, &end)
	} else {
		s.replica.drop()
	}
	if caddy.Exiting() && s.replica.of.store.Shared() {
		select {
		case <-s.replica.done:
		case <-time.After(callTimeout):
		}
	}
}
