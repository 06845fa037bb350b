// Package channel pushes messages from a web application to browser pages, through a Pushline server.
//
// It has the functions of App Engine's package of this name, and their shapes:
//
//	token, err := channel.Create(ctx, "ann")          // give this to ann's page
//	err = channel.Send(ctx, "ann", "hello")
//	err = channel.SendJSON(ctx, "ann", map[string]int{"score": 3})
//
// They find the server by PUSHLINE_URL (default http://127.0.0.1:8080) and its key by PUSHLINE_API_KEY or
// PUSHLINE_API_KEY_FILE. A [Client] is told both, and its sends say what became of the message.
//
// What Pushline refuses is a [*Problem]; a [*Unreachable] means that no answer came. A request that may have arrived is
// made again only if it takes effect once: a send with an [IdempotencyKey].
//
// Only the standard library is needed.
package channel
