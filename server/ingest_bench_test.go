package server_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	ententev1 "entente.example/entente/proto/entente/v1"
	"entente.example/entente/server/ledger"
)

// present is how many records are there before anything is measured.
var present = flag.Int("present", 1_000_000, "records in both files before the measured rounds of BenchmarkIngest")

// BenchmarkIngest compares durable ingest with the database under it, in one run, round by round in turn:
//
//   - ingest: 4 calls of IntakeService.Push over mutual TLS, each with 1,000 records in flight in messages of 100, each record
//     validated, logged, released to all members, chained and signed; a record counts when its verdict is back;
//   - raw: bbolt alone, the same bytes under keys in order, 1,000 an Update.
//
// The clients run on the same processors as the node; they send messages encoded beforehand, so that what is measured is
// the node, and they decode the verdicts. It prints both rates and the median of the rounds' ratios.
func BenchmarkIngest(b *testing.B) {
	const rounds, calls, flight, message, perRound = 5, 4, 10, 100, 100_000
	defer debug.SetGCPercent(debug.SetGCPercent(300)) // as the program sets it
	w := newWorld(b)
	n := w.start("XA")
	raw := openRaw(b)
	sample, err := proto.Marshal(benchRecord("r-0000000-0000000"))
	w.must(err)
	before := heap()
	preload(b, n, raw, sample)
	b.ReportMetric(float64(heap()-before)/float64(*present), "heap-bytes/record")

	var ratios, rates, raws []float64
	for round := range rounds {
		began := time.Now()
		raw.write(b, perRound, sample)
		rawRate := perRound / time.Since(began).Seconds()

		requests := make([][]frame, calls)
		for c := range calls {
			for m := range perRound / calls / message {
				request := &ententev1.PushRequest{Batch: uint64(m)}
				for i := range message {
					request.Items = append(request.Items, item(benchRecord(fmt.Sprintf("r-%07d-%07d", round*calls+c, m*message+i)), toAll()))
				}
				encoded, err := proto.Marshal(request)
				w.must(err)
				requests[c] = append(requests[c], encoded)
			}
		}
		clients := make([]*grpc.ClientConn, calls)
		for c := range clients {
			clients[c] = n.system("registry")
		}
		runtime.GC() // what making the requests left behind is not the node's to sweep
		began = time.Now()
		var all sync.WaitGroup
		for c := range calls {
			all.Go(func() { pushPipelined(b, clients[c], requests[c], flight) })
		}
		all.Wait()
		rate := perRound / time.Since(began).Seconds()
		rates, raws, ratios = append(rates, rate), append(raws, rawRate), append(ratios, rate/rawRate)
		b.Logf("round %d: ingest %.0f records/s, raw bbolt %.0f, ratio %.2f", round+1, rate, rawRate, rate/rawRate)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(rates), "ingest-records/s")
	b.ReportMetric(median(raws), "raw-records/s")
	b.ReportMetric(median(ratios), "ratio")
	b.ReportMetric(float64(len(sample)), "bytes/record")
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func median(list []float64) float64 {
	sorted := slices.Clone(list)
	slices.Sort(sorted)
	return sorted[len(sorted)/2]
}

// benchRecord is a record of about 1 KiB.
func benchRecord(reference string) *ententev1.Record {
	r := personRecord(reference, 1)
	p := r.GetBody().GetPerson()
	p.Names = []*ententev1.PersonName{{Type: ententev1.NameType_NAME_TYPE_PRIMARY, Family: "Invented", Given: "Name", FullOriginal: "Invented Name", Script: "Latn"}, {Type: ententev1.NameType_NAME_TYPE_ALIAS, Family: "Other", Given: "Name"}}
	p.DatesOfBirth = []*ententev1.PartialDate{{Year: 1980, Month: 5, Day: 17, Precision: ententev1.DatePrecision_DATE_PRECISION_DAY}}
	p.Nationalities = []string{"XA"}
	p.Documents = []*ententev1.IdentityDocument{{Type: ententev1.DocumentType_DOCUMENT_TYPE_PASSPORT, Number: "X1234567", IssuingCountry: "XA"}}
	p.Notes = string(bytes.Repeat([]byte("Seen at the harbour. "), 38))
	return r
}

// frame is a PushRequest encoded beforehand.
type frame []byte

// frames is the codec of the contract for a client that has its requests encoded.
type frames struct{}

func (frames) Name() string { return "proto" }

func (frames) Marshal(v any) ([]byte, error) { return v.(frame), nil }

func (frames) Unmarshal(data []byte, v any) error { return proto.Unmarshal(data, v.(proto.Message)) }

// pushPipelined sends all requests with at most flight of them unanswered.
func pushPipelined(b *testing.B, conn *grpc.ClientConn, requests []frame, flight int) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	call, err := conn.NewStream(ctx, &ententev1.IntakeService_ServiceDesc.Streams[0], ententev1.IntakeService_Push_FullMethodName, grpc.ForceCodec(frames{}))
	if err != nil {
		b.Error(err)
		return
	}
	slots := make(chan struct{}, flight)
	var answers sync.WaitGroup
	answers.Go(func() {
		for range requests {
			response := &ententev1.PushResponse{}
			err := call.RecvMsg(response)
			if err != nil {
				b.Error(err)
				return
			}
			for _, v := range response.GetVerdicts() {
				if v.GetOutcome() != ententev1.Outcome_OUTCOME_ACCEPTED || v.GetReleaseState() != ententev1.ReleaseState_RELEASE_STATE_RELEASED {
					b.Errorf("verdict %v", v)
					return
				}
			}
			<-slots
		}
	})
	for _, request := range requests {
		slots <- struct{}{}
		err = call.SendMsg(request)
		if err != nil {
			b.Error(err)
			return
		}
	}
	err = call.CloseSend()
	if err != nil {
		b.Error(err)
	}
	answers.Wait()
}

// rawFile is bbolt as it is, with the options of the node's own file.
type rawFile struct {
	db   *bbolt.DB
	next uint64
}

func openRaw(b *testing.B) *rawFile {
	db, err := bbolt.Open(filepath.Join(b.TempDir(), "raw.db"), 0o600, &bbolt.Options{FreelistType: bbolt.FreelistMapType, NoFreelistSync: true, InitialMmapSize: 1 << 30})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	return &rawFile{db: db}
}

func (r *rawFile) write(b *testing.B, count int, value []byte) {
	for done := 0; done < count; done += 1000 {
		err := r.db.Update(func(tx *bbolt.Tx) error {
			bucket, err := tx.CreateBucketIfNotExists([]byte("records"))
			if err != nil {
				return err
			}
			bucket.FillPercent = 0.95
			for range 1000 {
				r.next++
				err = bucket.Put(binary.BigEndian.AppendUint64(nil, r.next), value)
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

// preload fills both files; the node's by its ledger, beside the network.
func preload(b *testing.B, n *node, raw *rawFile, sample []byte) {
	raw.write(b, *present, sample)
	const message = 1000
	var all sync.WaitGroup
	for c := range 4 {
		all.Go(func() {
			for m := c; m < *present/message; m += 4 {
				items := make([]ledger.Item, message)
				for i := range items {
					items[i] = ledger.Item{Record: benchRecord(fmt.Sprintf("p-%07d-%07d", m, i)), Audiences: []*ententev1.Audience{toAll()}}
				}
				_, err := n.ledger.Push(context.Background(), "Police", items)
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}
