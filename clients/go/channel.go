package channel

import (
	"context"
	"sync"
)

var std struct {
	sync.Mutex
	client *Client
}

// Create returns a new token, with which pages connect to the channel of clientID (contract, A1).
//
// It lasts two hours unless a [Duration] says otherwise.
func Create(ctx context.Context, clientID string, options ...CreateOption) (token string, err error) {
	client, err := defaultClient()
	if err != nil {
		return "", err
	}
	return client.Create(ctx, clientID, options...)
}

// Send sends a text to clientID (contract, A2). That nobody is there is no error: [Client.Send] says what became of it.
func Send(ctx context.Context, clientID, message string, options ...SendOption) error {
	client, err := defaultClient()
	if err != nil {
		return err
	}
	_, err = client.Send(ctx, clientID, message, options...)
	return err
}

// SendJSON sends value as JSON to clientID; otherwise it is like [Send].
func SendJSON(ctx context.Context, clientID string, value any, options ...SendOption) error {
	client, err := defaultClient()
	if err != nil {
		return err
	}
	_, err = client.SendJSON(ctx, clientID, value, options...)
	return err
}

// defaultClient is made at the first call, so that a program may set its environment before.
func defaultClient() (*Client, error) {
	std.Lock()
	defer std.Unlock()
	if std.client == nil {
		client, err := New("", "")
		if err != nil {
			return nil, err
		}
		std.client = client
	}
	return std.client, nil
}
