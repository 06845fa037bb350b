import { Socket } from "./socket.js";

/** The one-way path from an application to this page, as the token names it. */
export class Channel {
  #token;
  #options;
  #environment;

  /**
   * @param {string} token
   * @param {import("./socket.js").Options} options
   * @param {import("./environment.js").Environment} environment
   */
  constructor(token, options, environment) {
    this.#token = token;
    this.#options = options;
    this.#environment = environment;
  }

  /**
   * Opens a socket. No handler is called before the task that calls this has ended.
   *
   * @param {import("./socket.js").Handlers} [handlers] read here; may be set on the socket as well
   */
  open(handlers) {
    return new Socket(this.#token, handlers ?? {}, this.#options, this.#environment);
  }
}
