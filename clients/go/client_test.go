package channel_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pushline.dev/channel"
)

const key = "the-api-key-of-these-tests"

func newClient(t *testing.T, url string) *channel.Client {
	t.Helper()
	client, err := channel.New(url, key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.HTTP.CloseIdleConnections)
	return client
}

// answering serves what handle answers, and returns its address.
func answering(t *testing.T, handle http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	return server.URL
}

// silent takes requests and never answers them.
func silent(t *testing.T) string {
	t.Helper()
	over := make(chan struct{})
	url := answering(t, func(http.ResponseWriter, *http.Request) { <-over })
	t.Cleanup(func() { close(over) })
	return url
}

// losing reads requests and breaks their connections without an answer, and counts them.
func losing(t *testing.T, lost int32) (string, *atomic.Int32) {
	t.Helper()
	var count atomic.Int32
	return answering(t, func(w http.ResponseWriter, r *http.Request) {
		if count.Add(1) > lost {
			fmt.Fprint(w, `{"id":"1-0","status":"queued"}`)
			return
		}
		connection, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		connection.Close()
	}), &count
}

func TestASendWhoseAnswerIsLostIsRepeatedOnlyWithAKey(t *testing.T) {
	url, count := losing(t, 1)
	_, err := newClient(t, url).Send(context.Background(), "ann", "hello")
	var unreachable *channel.Unreachable
	if !errors.As(err, &unreachable) || unreachable.URL != url || count.Load() != 1 {
		t.Error(err, count.Load())
	}
	url, count = losing(t, 1)
	result, err := newClient(t, url).Send(context.Background(), "ann", "hello", channel.IdempotencyKey("k"))
	if err != nil || result.Status != channel.Queued || count.Load() != 2 {
		t.Error(result, err, count.Load())
	}
	url, count = losing(t, 1)
	_, err = newClient(t, url).Create(context.Background(), "ann")
	if !errors.As(err, &unreachable) || count.Load() != 1 {
		t.Error(err, count.Load())
	}
}

func TestItIsTriedThreeTimes(t *testing.T) {
	url, count := losing(t, 99)
	_, err := newClient(t, url).Send(context.Background(), "ann", "hello", channel.IdempotencyKey("k"))
	var unreachable *channel.Unreachable
	if !errors.As(err, &unreachable) || count.Load() != 3 {
		t.Error(err, count.Load())
	}
}

func TestARequestThatFoundNobodyIsMadeAgainWithoutAKey(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	started := make(chan *http.Server, 1)
	time.AfterFunc(200*time.Millisecond, func() {
		server := &http.Server{Addr: address, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, `{"id":null,"status":"no_channel"}`)
		})}
		started <- server
		_ = server.ListenAndServe()
	})
	result, err := newClient(t, "http://"+address).Send(context.Background(), "ann", "hello")
	(<-started).Close()
	if err != nil || result != (channel.Result{Status: channel.NoChannel}) {
		t.Error(result, err)
	}
}

func TestAContextEndsATryAndAPause(t *testing.T) {
	url := silent(t)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err := newClient(t, url).Send(ctx, "ann", "hello", channel.IdempotencyKey("k"))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	nobody, _ := losing(t, 99)
	ctx, cancel = context.WithCancel(context.Background())
	cancel()
	_, err = newClient(t, nobody).Send(ctx, "ann", "hello", channel.IdempotencyKey("k"))
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestATimeoutIsThatOfATryAndNotOfTheCaller(t *testing.T) {
	url := silent(t)
	client := newClient(t, url)
	client.Timeout = 20 * time.Millisecond
	_, err := client.Send(context.Background(), "ann", "hello")
	if errors.Is(err, context.DeadlineExceeded) || !strings.Contains(fmt.Sprint(err), "no answer in time") {
		t.Error(err)
	}
}

func TestWhatIsNotPushlineIsSaidWithoutAWordOfIt(t *testing.T) {
	for name, handle := range map[string]http.HandlerFunc{
		"a proxy that repeats the request": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			fmt.Fprint(w, r.Header.Get("Authorization"))
		},
		"a page": func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "<!doctype html>") },
	} {
		_, err := newClient(t, answering(t, handle)).Send(context.Background(), "ann", "hello")
		var problem *channel.Problem
		if !errors.As(err, &problem) || problem.Code != "unexpected_answer" || strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	var followed atomic.Bool
	elsewhere := answering(t, func(http.ResponseWriter, *http.Request) { followed.Store(true) })
	url := answering(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere, http.StatusTemporaryRedirect)
	})
	_, err := newClient(t, url).Send(context.Background(), "ann", "hello")
	var problem *channel.Problem
	if !errors.As(err, &problem) || problem.Status != 307 || problem.Code != "unexpected_answer" || followed.Load() {
		t.Error(err, followed.Load())
	}
}

func TestNothingThatIsPrintedShowsTheKey(t *testing.T) {
	client := newClient(t, "http://127.0.0.1:1")
	_, err := client.Send(context.Background(), "ann", "hello")
	for _, text := range []string{fmt.Sprintf("%v %+v %#v", client, *client, *client), fmt.Sprintf("%v %+v %#v", err, err, err)} {
		if strings.Contains(text, key) {
			t.Error(text)
		}
	}
}

func TestAnAddressOrKeyThatCannotBeIsASentence(t *testing.T) {
	for _, variable := range []string{"PUSHLINE_URL", "PUSHLINE_API_KEY", "PUSHLINE_API_KEY_FILE"} {
		t.Setenv(variable, "")
	}
	for _, given := range [][3]string{
		{"", "", "there is no API key"},
		{"", " \n", "there is no API key"},
		{"", "a\x00b", "characters that a header cannot carry"},
		{"ftp://127.0.0.1", key, "no address of Pushline"},
		{"http://", key, "no address of Pushline"},
		{"http://ann:pw@127.0.0.1", key, "a user name"},
		{"http://127.0.0.1?a=b", key, "a query"},
	} {
		_, err := channel.New(given[0], given[1])
		if err == nil || !strings.Contains(err.Error(), given[2]) {
			t.Errorf("%q: %v", given, err)
		}
	}
	t.Setenv("PUSHLINE_API_KEY_FILE", "/no/such/file")
	if _, err := channel.New("", ""); err == nil || !strings.HasPrefix(err.Error(), "PUSHLINE_API_KEY_FILE: ") {
		t.Error(err)
	}
}

func TestAKeyThatAHeaderWouldAlterIsNotSent(t *testing.T) {
	client := newClient(t, "http://127.0.0.1:1")
	for _, key := range []string{"", "a b", "ä", "a\r\nb: c", strings.Repeat("k", 256)} {
		_, err := client.Send(context.Background(), "ann", "hello", channel.IdempotencyKey(key))
		if err == nil || !strings.Contains(err.Error(), "an idempotency key is") {
			t.Errorf("%q: %v", key, err)
		}
	}
}
