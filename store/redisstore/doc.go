// Package redisstore provides http.handlers.illumichat.stores.redis, which keeps streams in a Redis that several
// instances share. A visitor can continue an answer at any of these instances, and the instances count visitors' chats
// together.
//
// An instance also keeps the streams that it writes in its own memory. A visitor who reads such a stream at the same
// instance does not wait for Redis.
//
// # Where to begin
//
// redis.go is the module: the options, and how a store is opened. store.go is the store.
//
// A stream that this instance writes is a source. Its replica tracks what Redis has of it, and makes shipments of what
// Redis lacks; a shipment is one entry, and the commands that send it. The replicator knows all replicas, and a sender for
// each shard, which puts the shipments of many streams into one pipeline. claims.go decides who begins a stream.
//
// A stream that another instance writes is a remote. Once a visitor listens to it, it is followed: a mirror holds the part
// that its listeners have yet to read. following fetches for all mirrors, and watches the leases of the writing instances.
// losses marks the streams of instances that have died.
//
// Instances tell each other by messages: orders sends them, inbox reads them, and news goes in one pipeline with the
// entries that it tells of. readers knows which instances listen to the streams of this one.
//
// The counter counts visitors' chats, by reservations, and shares the cool-downs of assistants.
//
// All calls go through the link. It knows the shards from the topology of the Redis, and a shard has a lane for each
// purpose of a call, so that a crowd of one kind delays no other. beat.go sends the heartbeats that find out whether a shard
// is down.
package redisstore
