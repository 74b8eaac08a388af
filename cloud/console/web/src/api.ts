// The gRPC-Web client and the token that it carries.

import { createClient, type Client } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { VehicleService } from "./gen/remuda/vehicles/v1/vehicles_pb";

const KEY = "remuda-token";

/** The token: from the address (and removed from there), or from this tab's earlier visit. */
export function takeToken(): string | null {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem(KEY, given);
    history.replaceState(null, "", location.pathname + location.search);
    return given;
  }
  return sessionStorage.getItem(KEY);
}

export function keepToken(token: string): void {
  sessionStorage.setItem(KEY, token);
}

export function forgetToken(): void {
  sessionStorage.removeItem(KEY);
}

export type Api = {
  vehicles: Client<typeof VehicleService>;
  parent: string;
  nameOf: (vehicle: string) => string;
  fetch: (path: string) => Promise<Response>;
};

/** What answers when the token is wrong. */
export class TokenRefused extends Error {}

/** Connects, which checks the token. */
export async function connect(token: string): Promise<Api> {
  const headers = { authorization: `Bearer ${token}` };
  const about = await fetch("/console.json", { headers });
  if (about.status === 401) throw new TokenRefused();
  if (!about.ok) throw new Error(`the console answered ${about.status}`);
  const { organization } = (await about.json()) as { organization: string };
  const transport = createGrpcWebTransport({
    baseUrl: location.origin,
    useBinaryFormat: true,
    interceptors: [
      (next) => (request) => {
        request.header.set("authorization", headers.authorization);
        return next(request);
      },
    ],
  });
  const parent = `organizations/${organization}`;
  return {
    vehicles: createClient(VehicleService, transport),
    parent,
    nameOf: (vehicle) => `${parent}/vehicles/${vehicle}`,
    fetch: (path) => fetch(path, { headers }),
  };
}
