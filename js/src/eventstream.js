/** Server-sent events (HTML Standard, 9.2.6): the text of a stream, in any pieces, to events. Pure. */

/** @typedef {{event?: string, id?: string, data: string}} ServerSentEvent Its fields, as they came. */

/**
 * @param {(event: ServerSentEvent) => void} dispatch
 * @returns {(text: string) => void} takes the next piece
 */
export function eventStream(dispatch) {
  let rest = "";
  /** @type {Record<string, string>} */
  let fields = {};

  /** @param {string} line */
  function read(line) {
    if (line) {
      const [, name, value] = /** @type {RegExpExecArray} */ (/([^:]*):? ?(.*)/s.exec(line));
      fields[name] = name === "data" && name in fields ? `${fields.data}\n${value}` : value;
    } else {
      if ("data" in fields) dispatch(/** @type {any} */ (fields));
      fields = {};
    }
  }

  return (text) => {
    // A CR at the end may be half of a CR LF: the next piece shows it.
    const lines = (rest + text).split(/\r?\n|\r(?!$)/);
    rest = /** @type {string} */ (lines.pop());
    for (const line of lines) read(line);
  };
}
