package channel_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"pushline.dev/channel"
)

// These tests are of a real server: PUSHLINE_URL=… PUSHLINE_API_KEY=… go test ./...

func needServer(t *testing.T) {
	t.Helper()
	if os.Getenv("PUSHLINE_URL") == "" {
		t.Skip("PUSHLINE_URL names no server")
	}
}

// A page polls with its token, and acknowledges by the cursor of its next poll.
type page struct {
	t             *testing.T
	token, cursor string
}

func (p *page) poll(ctx context.Context) []string {
	p.t.Helper()
	address := fmt.Sprintf("%s/_ah/channel/connect?page=go&wait=5&after=%s", os.Getenv("PUSHLINE_URL"), p.cursor)
	request, err := http.NewRequestWithContext(ctx, "GET", address, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	request.Header = http.Header{"Accept": {"application/json"}, "Authorization": {"Bearer " + p.token}}
	response, err := http.DefaultClient.Do(request)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct {
		Cursor   string
		Messages []struct{ ID, Data string }
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || response.StatusCode != 200 {
		p.t.Fatal(response.Status, err)
	}
	p.cursor = answer.Cursor
	var texts []string
	for _, message := range answer.Messages {
		texts = append(texts, message.Data)
		p.cursor = message.ID
	}
	return texts
}

func TestTheOldFunctionsReachAPage(t *testing.T) {
	needServer(t)
	ctx := context.Background()
	for _, clientID := range []string{"ann", "room/ünï & cö@example.com+%2F", "..", "{", strings.Repeat("ä", 128)} {
		token, err := channel.Create(ctx, clientID)
		if err != nil {
			t.Fatal(err)
		}
		if err := channel.Send(ctx, clientID, " two\r\nlines, ☃ "); err != nil {
			t.Error(err)
		}
		if err := channel.SendJSON(ctx, clientID, map[string]any{"turn": "X", "moves": []int{4, 0}}); err != nil {
			t.Error(err)
		}
		got := (&page{t: t, token: token}).poll(ctx)
		want := []string{" two\r\nlines, ☃ ", `{"moves":[4,0],"turn":"X"}`}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q: got %q, want %q", clientID, got, want)
		}
	}
}

func TestASendSaysWhatBecameOfIt(t *testing.T) {
	needServer(t)
	ctx := context.Background()
	client, err := channel.New("", "")
	if err != nil {
		t.Fatal(err)
	}
	result, err := client.Send(ctx, "go-nobody", "hello")
	if err != nil || result != (channel.Result{Status: channel.NoChannel}) {
		t.Error(result, err)
	}
	token, err := client.Create(ctx, "go-bob", channel.Duration(5*time.Minute), channel.WithPolicy(channel.Share))
	if err != nil || !strings.Contains(token, ".share.") {
		t.Fatal(err)
	}
	first, err := client.Send(ctx, "go-bob", "one", channel.IdempotencyKey("k"), channel.TTL(time.Hour))
	if err != nil || first.Status != channel.Queued || first.ID == "" {
		t.Error(first, err)
	}
	again, err := client.Send(ctx, "go-bob", "one", channel.IdempotencyKey("k"))
	if err != nil || again != first {
		t.Error(again, first, err)
	}
	polling, leave := context.WithCancel(ctx)
	done := make(chan []string)
	go func() {
		var got []string
		for reader := (&page{t: t, token: token}); polling.Err() == nil; {
			got = append(got, reader.poll(polling)...)
		}
		done <- got
	}()
	waited, err := client.Send(ctx, "go-bob", "two", channel.Wait(20*time.Second))
	if err != nil || waited.Status != channel.Delivered {
		t.Error(waited, err)
	}
	leave()
	if got := <-done; fmt.Sprint(got) != "[one two]" {
		t.Error(got)
	}
}

func TestAWaitMayEndWithoutAPage(t *testing.T) {
	needServer(t)
	client, err := channel.New("", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Create(context.Background(), "go-away"); err != nil {
		t.Fatal(err)
	}
	client.Timeout = time.Second // on top of which comes the wait
	result, err := client.Send(context.Background(), "go-away", "hello", channel.Wait(1500*time.Millisecond))
	if err != nil || result.Status != channel.Queued {
		t.Error(result, err)
	}
}

func TestRefusalsAreProblems(t *testing.T) {
	needServer(t)
	ctx := context.Background()
	client, err := channel.New("", "")
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := channel.New("", "not-the-key-of-this-server")
	if err != nil {
		t.Fatal(err)
	}
	create := func(id string, options ...channel.CreateOption) error {
		_, err := client.Create(ctx, id, options...)
		return err
	}
	send := func(client *channel.Client, id, message string, options ...channel.SendOption) error {
		_, err := client.Send(ctx, id, message, options...)
		return err
	}
	for _, refused := range []struct {
		status int
		code   string
		err    error
	}{
		{401, "unauthorized", send(stranger, "ann", "hello")},
		{400, "invalid_client_id", create("")},
		{400, "invalid_client_id", create(strings.Repeat("x", 257))},
		{400, "invalid_client_id", send(client, "", "hello")},
		{400, "invalid_message", send(client, "ann", "")},
		{400, "invalid_message", send(client, "ann", "\xff")},
		{413, "message_too_long", send(client, "ann", strings.Repeat("x", 32_768))},
		{400, "invalid_duration", create("ann", channel.Duration(90*time.Second))},
		{400, "invalid_duration", create("ann", channel.Duration(25*time.Hour))},
		{400, "invalid_policy", create("ann", channel.WithPolicy("every"))},
		{400, "invalid_ttl", send(client, "ann", "hello", channel.TTL(0))},
		{400, "invalid_wait", send(client, "ann", "hello", channel.Wait(time.Minute))},
	} {
		var problem *channel.Problem
		if !errors.As(refused.err, &problem) || problem.Status != refused.status || problem.Code != refused.code {
			t.Errorf("%s: %v", refused.code, refused.err)
		} else if problem.Title == "" || problem.Detail == "" || strings.Contains(problem.Error(), "not-the-key") {
			t.Error(problem)
		}
	}
	for _, err := range []error{create("\xff"), send(client, "\xff", "hello")} { // refused, and not mended
		var problem *channel.Problem
		if !errors.As(err, &problem) || problem.Status != 400 {
			t.Error(err)
		}
	}
	if err := channel.SendJSON(ctx, "ann", func() {}); err == nil || errors.As(err, new(*channel.Problem)) {
		t.Error(err)
	}
}

// With PUSHLINE_TEST_PRESENCE the server posts its callbacks to that address, where this test listens.
func TestCallbacksOfAServerAreVerified(t *testing.T) {
	needServer(t)
	listen := os.Getenv("PUSHLINE_TEST_PRESENCE")
	if listen == "" {
		t.Skip("PUSHLINE_TEST_PRESENCE names no address to listen on")
	}
	type told struct {
		presence channel.Presence
		path     string
	}
	heard := make(chan told, 2)
	mux := http.NewServeMux()
	mux.HandleFunc("/_ah/channel/", func(w http.ResponseWriter, r *http.Request) {
		presence, err := channel.ParsePresence(r)
		if err != nil {
			t.Error(err)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		heard <- told{presence, r.URL.Path}
	})
	server := &http.Server{Addr: listen, Handler: mux}
	go func() { _ = server.ListenAndServe() }()
	defer func() { _ = server.Shutdown(context.Background()) }() // the last callback is still to be answered
	const clientID = "room/ünï & cö@example.com"
	ctx := context.Background()
	token, err := channel.Create(ctx, clientID)
	if err != nil {
		t.Fatal(err)
	}
	(&page{t: t, token: token}).poll(ctx)
	var last int64
	for _, want := range []struct {
		connected bool
		path      string
	}{{true, "/_ah/channel/connected/"}, {false, "/_ah/channel/disconnected/"}} {
		select {
		case got := <-heard:
			age := time.Since(got.presence.Time)
			if got.presence.ClientID != clientID || got.presence.Connected != want.connected || got.path != want.path {
				t.Errorf("%+v, want %+v", got, want)
			}
			if got.presence.Sequence <= last || age < -time.Second || age > time.Minute {
				t.Errorf("%+v after %d", got, last)
			}
			last = got.presence.Sequence
		case <-time.After(40 * time.Second):
			t.Fatalf("nothing was told of %+v", want)
		}
	}
}
