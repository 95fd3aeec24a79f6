package redisstore

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// maxCommands and maxPipeline are how many commands and about how many bytes one pipeline has. A single call may
	// have more.
	maxCommands = 256
	maxPipeline = 1 << 20

	// pipelineTime is the least time between two pipelines of a lane whose calls gather, because a pipeline costs Redis and
	// this instance ten times as much as one more call in it.
	pipelineTime = time.Millisecond

	// maxReplies is about how many bytes of replies one pipeline of reads has. Calls of other lanes come over the same
	// network, and wait for these replies there. firstReply is how many bytes a reply is taken to have before there were
	// any.
	maxReplies = 512 << 10
	firstReply = 8 << 10

	// maxWaiting is how many calls may wait in a lane.
	maxWaiting = 8192

	// idleTime is how long a lane keeps its connection after the last call.
	idleTime = 30 * time.Second
)

// lane is a queue of calls to a shard, with a connection of its own. While one pipeline is on its way, calls gather for
// the next one.
type lane struct {
	shard   *shard
	purpose purpose

	// Only the goroutine that serves the lane uses these.
	wire  wire
	began time.Time // when the last pipeline was sent
	reply int       // how many bytes the reply to a command had lately, on average

	mu     sync.Mutex
	queue  []*call
	served bool      // a goroutine serves the lane
	used   time.Time // when the last call came
}

// call is a group of commands of one caller.
type call struct {
	ctx      context.Context
	purpose  purpose
	timeout  time.Duration
	most     int // about how many bytes the replies have at most; 0: it is unknown
	commands []redis.Cmder
	begins   func()               // is called when the commands are about to be sent; nil: nothing is
	fill     func() []redis.Cmder // returns the commands when they are about to be sent; nil: they are known already
	done     func(error)          // gets nil if every command has a reply; must not block
}

// add queues a call.
func (n *lane) add(c *call) {
	n.shard.mu.Lock()
	gone := n.shard.gone
	n.shard.mu.Unlock()
	if gone {
		c.done(errGone)
		return
	}
	if !n.queueUp(c) {
		c.done(errCrowd)
	}
}

func (n *lane) queueUp(c *call) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.queue) >= maxWaiting {
		return false
	}
	n.queue = append(n.queue, c)
	n.used = time.Now()
	if !n.served {
		n.served = true
		go n.serve()
	}
	return true
}

// fail ends all calls that wait in the lane.
func (n *lane) fail(err error) {
	n.mu.Lock()
	queue := n.queue
	n.queue = nil
	n.mu.Unlock()
	for _, c := range queue {
		c.done(err)
	}
}

// serve sends what is queued, until the queue is empty.
func (n *lane) serve() {
	for {
		n.gather()
		calls := n.take()
		if calls == nil {
			return
		}
		n.send(calls)
	}
}

// gather waits until the last pipeline is pipelineTime old, if the lane's calls may wait.
func (n *lane) gather() {
	if n.purpose.gathers() {
		time.Sleep(pipelineTime - time.Since(n.began))
	}
}

// take returns the calls for the next pipeline, or nil if there are none. It leaves out calls whose callers have given
// up.
func (n *lane) take() (calls []*call) {
	var left []*call
	defer func() {
		for _, c := range left {
			c.done(c.ctx.Err())
		}
	}()
	n.mu.Lock()
	defer n.mu.Unlock()
	commands, size, replies, taken := 0, 0, 0, 0
	for _, c := range n.queue {
		if c.ctx.Err() == nil {
			s, r := sizeOf(c.commands), n.replyTo(c)
			if len(calls) > 0 && (commands+len(c.commands) > maxCommands || size+s > maxPipeline || replies+r > maxReplies) {
				break
			}
			commands, size, replies = commands+len(c.commands), size+s, replies+r
			calls = append(calls, c)
		} else {
			left = append(left, c)
		}
		taken++
	}
	clear(n.queue[:taken])
	if n.queue = n.queue[taken:]; len(n.queue) == 0 {
		n.queue = nil
	}
	n.served = calls != nil
	return calls
}

// sizeOf returns about how many bytes commands have.
func sizeOf(commands []redis.Cmder) (size int) {
	for _, c := range commands {
		for _, arg := range c.Args() {
			switch arg := arg.(type) {
			case string:
				size += len(arg)
			case []byte:
				size += len(arg)
			}
		}
	}
	return size
}

// replyTo returns about how many bytes to expect as the reply to a call. Most calls get far less than they may get.
func (n *lane) replyTo(c *call) int {
	if !n.purpose.reads() {
		return 0
	}
	return max(n.reply*len(c.commands), c.most/4)
}

// learn notes how large the replies of a pipeline of reads were. After a pipeline without an answer in time, the next
// one has half as many commands.
func (n *lane) learn(commands []redis.Cmder, err error) {
	switch {
	case !n.purpose.reads():
	case err == nil:
		n.reply = max(repliesOf(commands)/len(commands), n.reply*7/8)
	case isLate(err):
		n.reply = min(2*max(n.reply, maxReplies/len(commands)), maxReplies)
	}
}

// repliesOf returns about how many bytes the replies to commands have.
func repliesOf(commands []redis.Cmder) (size int) {
	for _, c := range commands {
		entries, _ := c.(*redis.XMessageSliceCmd)
		if entries == nil {
			continue
		}
		for _, e := range entries.Val() {
			for _, value := range e.Values {
				text, _ := value.(string)
				size += len(text)
			}
		}
	}
	return size
}

// send sends calls in one pipeline, and hands out the replies.
func (n *lane) send(calls []*call) {
	timeout := calls[0].timeout
	var commands []redis.Cmder
	for _, c := range calls {
		timeout = min(timeout, c.timeout)
		if c.begins != nil {
			c.begins()
		}
		if c.fill != nil {
			c.commands = c.fill()
		}
		commands = append(commands, c.commands...)
	}
	var err error
	switch {
	case len(commands) == 0:
	case n.shard.down(), n.purpose == forCounts && n.shard.doubted.Load():
		err = errDown
	default:
		n.began = time.Now()
		err = n.wire.run(n.shard.link.ctx, timeout, func(ctx context.Context, conn *redis.Conn) error {
			return pipeline(ctx, conn, commands)
		})
		if err == nil {
			n.leave(commands)
		}
		n.learn(commands, err)
		if isLate(err) && !n.purpose.decides() {
			n.shard.late(n.purpose, time.Since(n.began))
		} else {
			n.shard.note(err)
		}
	}
	for _, c := range calls {
		if c.fill != nil {
			c.commands = nil
		}
		c.done(err)
	}
}

// leave closes the connection to a server that has become a replica, or that wants another login.
func (n *lane) leave(commands []redis.Cmder) {
	for _, c := range commands {
		if err := c.Err(); err != nil && (redis.IsReadOnlyError(err) || redis.IsAuthError(err)) {
			n.wire.drop()
			return
		}
	}
}

// keepAlive checks the connection of a lane that nobody uses at the moment, and closes it if it is dead. If the lane is
// not needed all the time, keepAlive also closes a connection that nobody has used for idleTime. Otherwise, it opens
// one, because a visitor's call may have no time for that.
func (n *lane) keepAlive(needed bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.served || n.wire.conn == nil && !needed {
		return
	}
	n.served = true
	idle := time.Since(n.used) > idleTime
	go func() {
		if idle && !needed {
			n.wire.drop()
		} else {
			n.check()
		}
		n.serve()
	}()
}

// check opens a connection, or closes the open one if it is dead. A call may wait for that, so check is not patient
// with an open one.
func (n *lane) check() {
	patience := max(countTime/4, 4*n.wire.usual())
	if n.wire.conn == nil {
		patience = callTimeout
		n.wire.conn = n.wire.client.EphemeralConn()
	}
	ctx, cancel := context.WithTimeout(n.shard.link.ctx, patience)
	defer cancel()
	_ = n.wire.try(ctx, func(ctx context.Context, conn *redis.Conn) error { return conn.Ping(ctx).Err() })
}
