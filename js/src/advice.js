/** What the developer is told on the console when no connection comes about (contract, J3). Pure. */

/**
 * @param {string} address
 * @param {import("./connection.js").Loss} loss why the last attempt failed
 */
export function advice(address, loss) {
  return `Pushline cannot connect to ${address}: ${cause(loss)}`;
}

/** @param {import("./connection.js").Loss} loss */
function cause({ code, reason }) {
  if (code === 0) return "no answer in time. Does something on the way hold it back?";
  if (reason === "SecurityError") return "a page from https: needs a server with https:.";
  if (code === 1006) return "is the server up, the address right, and in connect-src of the page's CSP?";
  return `closed with code ${code}.`;
}
