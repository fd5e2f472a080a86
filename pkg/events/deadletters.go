package events

import (
	"context"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/errors"
	pb "github.com/m3o/backend/pkg/events/deadletters"
	"github.com/m3o/backend/pkg/events/stream"
)

const (
	defaultPage = 25
	maxPage     = 100
	// maxPageBytes is how many bytes the payloads of a page have at most, beyond the first.
	maxPageBytes = 4 << 20
	maxReplayed  = 10_000
)

// DeadLetters handles the RPCs of the proto service of that name.
type DeadLetters struct {
	db    *database.DB
	store *store
	bus   *Bus
}

var _ pb.DeadLettersHandler = (*DeadLetters)(nil)

// DeadLetters returns the handler of the service's dead letters.
func (b *Bus) DeadLetters() *DeadLetters { return &DeadLetters{db: b.db, store: b.store, bus: b} }

// List lists dead letters.
func (d *DeadLetters) List(ctx context.Context, req *pb.ListRequest, rsp *pb.ListResponse) error {
	if err := checkTopic(req.Topic); err != nil {
		return err
	}
	size := int(req.PageSize)
	switch {
	case size == 0:
		size = defaultPage
	case size < 0 || size > maxPage:
		return errors.Invalid("page_size", "must be from 1 to %d", maxPage)
	}
	afterID, afterConsumer, err := parsePageToken(req.PageToken)
	if err != nil {
		return err
	}
	query := `SELECT ` + letterColumns + ` FROM ` + d.store.letters + `
		WHERE state = 'dead' AND (id, consumer) > ($1, $2)`
	args := []any{afterID[:], afterConsumer, size + 1}
	if req.Topic != "" {
		query += ` AND topic = $4`
		args = append(args, req.Topic)
	}
	rows, err := d.db.Read().Query(ctx, query+` ORDER BY id, consumer LIMIT $3`, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	bytes := 0
	for rows.Next() {
		l, err := scanLetter(rows)
		if err != nil {
			return err
		}
		if bytes += len(l.Payload); len(rsp.Letters) > 0 && (len(rsp.Letters) == size || bytes > maxPageBytes) {
			last := rsp.Letters[len(rsp.Letters)-1]
			rsp.NextPageToken = pageToken(last.Id, last.Consumer)
			break
		}
		rsp.Letters = append(rsp.Letters, &pb.DeadLetter{
			Id: l.ID.String(), Consumer: l.consumer, Topic: l.Topic, Type: l.Type, Cause: l.Cause, Aggregate: l.Aggregate,
			Sequence: l.Sequence, Time: l.Time.UnixNano(), Payload: strings.ToValidUTF8(string(l.Payload), "\ufffd"),
			Attempts: int64(l.attempts), Failed: micros(l.failedAt), Reason: strings.ToValidUTF8(l.reason, "\ufffd"),
		})
	}
	return rows.Err()
}

// Replay has dead letters tried again.
func (d *DeadLetters) Replay(ctx context.Context, req *pb.ReplayRequest, rsp *pb.ReplayResponse) error {
	if err := checkTopic(req.Topic); err != nil {
		return err
	}
	if (len(req.Ids) == 0) == (req.Topic == "") {
		return errors.Invalid("ids", "give either ids or a topic")
	}
	// Of a consumer that there is no more nobody would see to them.
	consumers := d.bus.keys()
	set := `UPDATE ` + d.store.letters + ` SET state = 'retry', attempts = 0, next = 0
		WHERE state = 'dead' AND consumer IN ` + placeholders(1, len(consumers)) + ` AND `
	if req.Topic != "" {
		n := len(consumers)
		return d.change(ctx, &rsp.Replayed, set+`(consumer, id) IN (
			SELECT consumer, id FROM `+d.store.letters+` WHERE state = 'dead' AND topic = $`+strconv.Itoa(n+1)+`
			ORDER BY id LIMIT $`+strconv.Itoa(n+2)+`)`,
			append(consumers, req.Topic, maxReplayed)...)
	}
	ids, err := parseIDs(req.Ids)
	if err != nil {
		return err
	}
	return d.change(ctx, &rsp.Replayed, set+`id IN `+placeholders(len(consumers)+1, len(ids)), append(consumers, ids...)...)
}

// placeholders is a list of so many arguments from one on; of none it is one that nothing is in.
func placeholders(from, n int) string {
	if n == 0 {
		return `(NULL)`
	}
	list := make([]string, n)
	for i := range list {
		list[i] = `$` + strconv.Itoa(from+i)
	}
	return `(` + strings.Join(list, `, `) + `)`
}

// Discard removes dead letters.
func (d *DeadLetters) Discard(ctx context.Context, req *pb.DiscardRequest, rsp *pb.DiscardResponse) error {
	ids, err := parseIDs(req.Ids)
	if err != nil {
		return err
	}
	return d.change(ctx, &rsp.Discarded,
		`DELETE FROM `+d.store.letters+` WHERE state = 'dead' AND id IN `+database.Values(1, len(ids)), ids...)
}

// change executes a statement and has the consumers look at what it has changed.
func (d *DeadLetters) change(ctx context.Context, changed *int64, statement string, args ...any) error {
	return d.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		r, err := tx.Exec(ctx, statement, args...)
		if err != nil {
			return err
		}
		*changed, err = r.RowsAffected()
		database.AfterCommit(ctx, d.bus.look)
		return err
	})
}

// keys are the names of all consumers, as arguments.
func (b *Bus) keys() []any {
	b.mu.Lock()
	defer b.mu.Unlock()
	keys := make([]any, len(b.consumers))
	for i, c := range b.consumers {
		keys[i] = c.key
	}
	return keys
}

// look has all consumers look at their letters.
func (b *Bus) look() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.consumers {
		c.look()
	}
}

func checkTopic(topic string) error {
	if len(topic) > stream.MaxTopic {
		return errors.Invalid("topic", "must have at most %d bytes", stream.MaxTopic)
	}
	return nil
}

// parseIDs returns the ids of events as the database has them, each once.
func parseIDs(texts []string) ([]any, error) {
	if len(texts) == 0 || len(texts) > maxPage {
		return nil, errors.Invalid("ids", "give 1 to %d", maxPage)
	}
	texts = slices.Compact(slices.Sorted(slices.Values(texts)))
	ids := make([]any, len(texts))
	for i, text := range texts {
		id, err := uuid.Parse(text)
		if err != nil || len(text) != len(uuid.Nil.String()) {
			return nil, errors.Invalid("ids", "each must be the id of an event, a UUID such as %s", uuid.Nil)
		}
		ids[i] = id[:]
	}
	return ids, nil
}

// A page token is the place of the last letter of the page before: nothing secret, and nothing to rely on.
func pageToken(id, consumer string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(id + " " + consumer))
}

func parsePageToken(token string) (after uuid.UUID, consumer string, err error) {
	if token == "" {
		return uuid.Nil, "", nil
	}
	text, err := base64.RawURLEncoding.DecodeString(token)
	if err == nil {
		id, name, ok := strings.Cut(string(text), " ")
		if after, err = uuid.Parse(id); err == nil && ok && len(id) == len(uuid.Nil.String()) && len(name) <= 2*stream.MaxTopic {
			return after, name, nil
		}
	}
	return uuid.Nil, "", errors.Invalid("page_token", "must be the next_page_token of a page, as it was given")
}

// Letters returns how many events of a topic the consumer without a name keeps: those that came too early or are to be tried
// again, and those that are dead.
func (b *Bus) Letters(ctx context.Context, topic string) (waiting, dead int64, err error) {
	of, err := b.store.counts(ctx, b.db.Read(), topic, stateEarly, stateRetry, stateDead)
	return of[stateEarly] + of[stateRetry], of[stateDead], err
}
