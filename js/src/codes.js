// Generated from spec/codes.json by `make generate`. Do not edit.

/**
 * What `onerror` is told at each close code that ends the socket (contract, W8).
 * @type {Readonly<Record<number, {code: number, description: string}>>}
 */
export const ENDINGS = {
  4400: { code: 400, description: "Protocol+error." },
  4401: { code: 401, description: "Invalid+token." },
  4403: { code: 403, description: "Origin+not+allowed." },
  4408: { code: 401, description: "Token+timed+out." },
  4409: { code: 409, description: "Replaced." },
  4410: { code: 401, description: "Invalid+token." },
  4411: { code: 409, description: "Disconnected." },
};
