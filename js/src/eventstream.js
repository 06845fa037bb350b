/** Server-sent events (HTML Standard, 9.2.6): the text of a stream, in any pieces, to events. Pure. */

/** @typedef {{event: string, id: string, data: string}} ServerSentEvent */

/**
 * @param {(event: ServerSentEvent) => void} dispatch
 * @returns {(text: string) => void} takes the next piece
 */
export function eventStream(dispatch) {
  let rest = "";
  let afterCarriageReturn = false;
  /** @type {Record<string, string>} */
  let fields = {};

  /** @param {string} line */
  function read(line) {
    if (line) {
      const [, name, value] = /** @type {RegExpExecArray} */ (/^([^:]*)(?:: ?)?(.*)$/s.exec(line));
      fields[name] = name === "data" && name in fields ? `${fields.data}\n${value}` : value;
    } else {
      const { event = "", id = "", data } = fields;
      fields = {};
      if (data !== undefined) dispatch({ event, id, data });
    }
  }

  return (text) => {
    if (!text) return;
    // A line may end in CR LF, and the piece between the two.
    if (afterCarriageReturn && text[0] === "\n") text = text.slice(1);
    afterCarriageReturn = text ? text.endsWith("\r") : false;
    const lines = (rest + text).split(/\r\n|\r|\n/);
    rest = /** @type {string} */ (lines.pop());
    for (const line of lines) read(line);
  };
}
