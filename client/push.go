package client

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
)

const (
	defaultInFlight   = 8
	defaultBatchItems = 200
	mostBatchItems    = 1000 // of the contract
	mostBatchBytes    = 1 << 20
	// itemOverhead is the tag and length of an item in its message: at most 1 + 3 bytes below mostBatchBytes.
	itemOverhead = 4
)

// PushOptions set how much may be under way.
type PushOptions struct {
	// InFlight is how many messages may be without an answer before Send waits; 0: 8.
	InFlight int
	// BatchItems is how many items a message takes; 0: 200, the most is 1,000.
	BatchItems int
	// BatchBytes is how many bytes a message takes; 0: 1 MiB, which is the most. An item larger than a lower limit goes alone.
	BatchBytes int
	// Consultation says why and on behalf of which officer; nil: the system pushes by itself. Needs a node of contract 2.
	Consultation *ententev1.Consultation
}

func (o PushOptions) complete() PushOptions {
	if o.InFlight <= 0 {
		o.InFlight = defaultInFlight
	}
	if o.BatchItems <= 0 {
		o.BatchItems = defaultBatchItems
	}
	if o.BatchBytes <= 0 {
		o.BatchBytes = mostBatchBytes
	}
	o.BatchItems = min(o.BatchItems, mostBatchItems)
	o.BatchBytes = min(o.BatchBytes, mostBatchBytes)
	return o
}

// Pusher sends items into the own member's node and hands over one verdict an item, in order. Send, Flush and Close may be
// called from several goroutines, but not from the verdict function.
type Pusher struct {
	ctx     context.Context
	client  *Client
	options PushOptions
	verdict func(tag any, v *ententev1.Verdict)

	slots chan struct{} // one for each message that may be under way
	input chan *batch   // to run; closed by Close
	done  chan struct{} // closed when run has ended; err is set before

	err error // written by run before done is closed

	mu      sync.Mutex // covers what follows
	next    *batch     // being filled
	number  uint64     // of the last message
	closing bool
}

// batch is one message and whom to tell.
type batch struct {
	request  *ententev1.PushRequest
	tags     []any
	bytes    int
	attempts int // above 1, a verdict DUPLICATE may be about our own first attempt
}

// Push begins a push. verdict is called by one goroutine, once for each item that was sent, in the order of Send; it should
// return soon. The push ends with Close, when ctx ends, or at a failure that cannot be mended; the next Send and Close then
// return why, and items without a verdict are to be pushed again, which is harmless.
//
// Where the connection breaks, what has no verdict is sent again; likewise, after the wait that it asks for, where the node
// ends the call because the caller is over a limit. An item that turns out to have been taken the first time is
// reported as ACCEPTED.
func (c *Client) Push(ctx context.Context, options PushOptions, verdict func(tag any, v *ententev1.Verdict)) *Pusher {
	options = options.complete()
	p := &Pusher{
		ctx:     ctx,
		client:  c,
		options: options,
		verdict: verdict,
		slots:   make(chan struct{}, options.InFlight),
		input:   make(chan *batch, options.InFlight),
		done:    make(chan struct{}),
		next:    &batch{request: &ententev1.PushRequest{}},
	}
	go p.run() // ended by Close, by ctx, or by a failure
	return p
}

// ErrTooLarge is what Send returns for an item over 1 MiB: it is not taken, and the push goes on. No node takes a record over
// 256 KiB.
var ErrTooLarge = errors.New("push: the item is over 1 MiB, no node takes a record over 256 KiB")

// Send takes one item; tag comes back with its verdict. It waits while too much is under way. The item must not be changed
// afterwards. Items wait in a message until it is full, Flush or Close.
func (p *Pusher) Send(item *ententev1.PushItem, tag any) error {
	size := proto.Size(item) + itemOverhead
	if size > mostBatchBytes {
		return ErrTooLarge
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing {
		return errors.New("push: the pusher is closed")
	}
	if len(p.next.tags) > 0 && p.next.bytes+size > p.options.BatchBytes {
		err := p.submit()
		if err != nil {
			return err
		}
	}
	p.next.request.Items = append(p.next.request.Items, item)
	p.next.tags = append(p.next.tags, tag)
	p.next.bytes += size
	if len(p.next.tags) < p.options.BatchItems {
		return p.ended()
	}
	return p.submit()
}

// Flush sends what waits for its message to be full. It does not wait for verdicts.
func (p *Pusher) Flush() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing {
		return errors.New("push: the pusher is closed")
	}
	return p.submit()
}

// Close sends the rest, waits for all verdicts and returns nil if each item has one. Further calls return the same.
func (p *Pusher) Close() error {
	p.mu.Lock()
	if !p.closing {
		_ = p.submit() // where it fails, run has ended with that error
		p.closing = true
		close(p.input)
	}
	p.mu.Unlock()
	<-p.done
	return p.err
}

// submit hands the message being filled to run. Called with mu held: one Send at a time waits for a slot.
func (p *Pusher) submit() error {
	err := p.ended()
	if err != nil || len(p.next.tags) == 0 {
		return err
	}
	select {
	case p.slots <- struct{}{}:
	case <-p.done:
		return p.ended()
	}
	p.number++
	full := p.next
	full.request.Batch = p.number
	full.request.Consultation = p.options.Consultation
	p.next = &batch{request: &ententev1.PushRequest{}}
	p.input <- full // never waits: it has as much room as there are slots
	return nil
}

// ended is nil while the push goes on.
func (p *Pusher) ended() error {
	select {
	case <-p.done:
		if p.err == nil {
			return errors.New("push: the pusher is closed")
		}
		return p.err
	default:
		return nil
	}
}

// pushing is what run knows; only its goroutine touches it.
type pushing struct {
	*Pusher
	waiting []*batch // sent or to be sent, without a verdict, oldest first
	open    bool     // input may still bring something
	retries retries
}

func (p *Pusher) run() {
	defer close(p.done)
	state := &pushing{Pusher: p, open: true, retries: retries{client: p.client, doing: "push records"}}
	p.err = state.all()
}

// all goes from one connection to the next until everything has a verdict.
func (p *pushing) all() error {
	for {
		if len(p.waiting) == 0 {
			more, err := p.await()
			if !more {
				return failed(p.retries.doing, err)
			}
		}
		err := p.session()
		if err == nil {
			continue
		}
		err = p.retries.pause(p.ctx, err)
		if err != nil {
			return err
		}
	}
}

// await waits for something to do without holding a connection; false: there is nothing more, or ctx ended.
func (p *pushing) await() (bool, error) {
	if !p.open {
		return false, nil
	}
	select {
	case b, more := <-p.input:
		p.open = more
		if more {
			p.waiting = append(p.waiting, b)
		}
		return more, nil
	case <-p.ctx.Done():
		return false, p.ctx.Err()
	}
}

// answer is what one receive brought.
type answer struct {
	response *ententev1.PushResponse
	err      error
}

// session pushes over one call, beginning with all that has no verdict. It returns nil when there is nothing more to do on
// it, and else why it broke.
func (p *pushing) session() error {
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	call, err := p.client.Intake().Push(ctx)
	if err != nil {
		return err
	}
	answers := make(chan answer, p.options.InFlight)
	var receiver sync.WaitGroup
	receiver.Go(func() { receive(ctx, call, answers) }) // ended by cancel
	defer receiver.Wait()
	defer cancel()

	for _, b := range p.waiting {
		err = p.transmit(call, b, answers)
		if err != nil {
			return err
		}
	}
	return p.converse(call, answers)
}

// converse sends what comes and hands over what is answered.
func (p *pushing) converse(call grpc.BidiStreamingClient[ententev1.PushRequest, ententev1.PushResponse], answers <-chan answer) error {
	input := p.input
	for {
		if !p.open {
			if len(p.waiting) == 0 {
				return p.hangUp(call, answers)
			}
			input = nil // a closed channel would always be ready
		}
		select {
		case <-p.ctx.Done():
			return p.ctx.Err()
		case b, more := <-input:
			if !more {
				p.open = false
				continue
			}
			p.waiting = append(p.waiting, b)
			err := p.transmit(call, b, answers)
			if err != nil {
				return err
			}
		case a := <-answers:
			if a.err != nil && len(p.waiting) == 0 {
				return p.atRest(a.err)
			}
			if a.err != nil {
				return broken(a.err)
			}
			err := p.deliver(a.response)
			if err != nil {
				return err
			}
		}
	}
}

// hangUp ends a call on which everything has its verdict: what the node says last changes nothing.
func (p *pushing) hangUp(call grpc.BidiStreamingClient[ententev1.PushRequest, ententev1.PushResponse], answers <-chan answer) error {
	err := call.CloseSend()
	if err != nil {
		return nil
	}
	select {
	case <-answers:
	case <-p.ctx.Done():
	}
	return nil
}

// atRest decides about a call that ended with nothing under way. A connection that was given up is then no failure: the next
// item opens another.
func (p *pushing) atRest(err error) error {
	err = failed(p.retries.doing, broken(err))
	if passing(err) {
		return nil
	}
	return err
}

// transmit sends one message. A failed send says only that the call is over: the reason comes with the answers.
func (p *pushing) transmit(call grpc.BidiStreamingClient[ententev1.PushRequest, ententev1.PushResponse], b *batch, answers <-chan answer) error {
	b.attempts++
	err := call.Send(b.request)
	if err == nil {
		return nil
	}
	for {
		select {
		case a := <-answers:
			if a.err != nil {
				return broken(a.err)
			}
			err := p.deliver(a.response)
			if err != nil {
				return err
			}
		case <-p.ctx.Done():
			return p.ctx.Err()
		}
	}
}

// broken gives an orderly end that came too early the code of a broken connection.
func broken(err error) error {
	if isEnd(err) {
		return status.Error(codes.Unavailable, "the node ended the call")
	}
	return err
}

// deliver hands over the verdicts of the oldest message.
func (p *pushing) deliver(response *ententev1.PushResponse) error {
	if len(p.waiting) == 0 {
		return fmt.Errorf("push records: the node answered message %d, none is under way", response.GetBatch())
	}
	b := p.waiting[0]
	if response.GetBatch() != b.request.GetBatch() || len(response.GetVerdicts()) != len(b.tags) {
		return fmt.Errorf("push records: the node answered message %d with %d verdicts, due is message %d with %d",
			response.GetBatch(), len(response.GetVerdicts()), b.request.GetBatch(), len(b.tags))
	}
	p.waiting = p.waiting[1:]
	p.retries.progress()
	for i, v := range response.GetVerdicts() {
		if b.attempts > 1 && v.GetOutcome() == ententev1.Outcome_OUTCOME_DUPLICATE {
			v.Outcome = ententev1.Outcome_OUTCOME_ACCEPTED
		}
		p.verdict(b.tags[i], v)
	}
	<-p.slots
	return nil
}

// receive hands on what a call brings until it ends.
func receive(ctx context.Context, call grpc.BidiStreamingClient[ententev1.PushRequest, ententev1.PushResponse], answers chan<- answer) {
	for {
		response, err := call.Recv()
		select {
		case answers <- answer{response, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}
