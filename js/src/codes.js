// Generated from spec/codes.json by `make generate`. Do not edit.

/**
 * What a close code means to a page (contract, W8): whether it ends the socket, and what `onerror` is told.
 * @typedef {{name: string, ends: boolean, onerror: {code: number, description: string} | null}} Close
 * @type {Readonly<Record<number, Close>>}
 */
export const CLOSES = {
  1000: { name: "normal", ends: false, onerror: null },
  1001: { name: "going_away", ends: false, onerror: null },
  1011: { name: "internal_error", ends: false, onerror: null },
  4400: { name: "protocol_error", ends: true, onerror: { code: 400, description: "Protocol+error." } },
  4401: { name: "invalid_token", ends: true, onerror: { code: 401, description: "Invalid+token." } },
  4403: { name: "origin_not_allowed", ends: true, onerror: { code: 403, description: "Origin+not+allowed." } },
  4408: { name: "token_expired", ends: true, onerror: { code: 401, description: "Token+timed+out." } },
  4409: { name: "replaced", ends: true, onerror: { code: 409, description: "Replaced." } },
  4410: { name: "revoked", ends: true, onerror: { code: 401, description: "Invalid+token." } },
  4411: { name: "disconnected", ends: true, onerror: { code: 409, description: "Disconnected." } },
  4503: { name: "too_many", ends: false, onerror: null },
  4513: { name: "too_slow", ends: false, onerror: null },
};
