// A stream that is opened again when it breaks.

import { Code, ConnectError } from "@connectrpc/connect";

const BACKOFF_MS = [500, 10_000] as const;
/** The server says something every 15 s; a stream silent for longer is dead, whatever the socket says. */
const SILENT_MS = 35_000;

export type FeedState =
  | { kind: "connecting" }
  | { kind: "live" }
  | { kind: "waiting"; until: number; reason: string }
  | { kind: "refused" };

/** Follows a stream until stopped. `open` starts it, `take` gets each message, `tell` each change of state. */
export class Feed<T> {
  private abort = new AbortController();
  private stopped = false;
  private wake: (() => void) | null = null;
  private readonly open: (signal: AbortSignal) => AsyncIterable<T>;
  private readonly take: (message: T) => void;
  private readonly tell: (state: FeedState) => void;

  constructor(
    open: (signal: AbortSignal) => AsyncIterable<T>,
    take: (message: T) => void,
    tell: (state: FeedState) => void,
  ) {
    this.open = open;
    this.take = take;
    this.tell = tell;
    void this.run();
  }

  stop(): void {
    this.stopped = true;
    this.abort.abort();
    this.wake?.();
  }

  /** Does not wait any longer. */
  retryNow(): void {
    this.wake?.();
  }

  private async run(): Promise<void> {
    let failures = 0;
    while (!this.stopped) {
      this.tell({ kind: "connecting" });
      this.abort = new AbortController();
      let watchdog = setTimeout(() => this.abort.abort(), SILENT_MS);
      let reason = "the stream ended";
      try {
        for await (const message of this.open(this.abort.signal)) {
          clearTimeout(watchdog);
          watchdog = setTimeout(() => this.abort.abort(), SILENT_MS);
          if (failures !== -1) this.tell({ kind: "live" });
          failures = -1;
          this.take(message);
        }
      } catch (error) {
        const known = ConnectError.from(error);
        if ([Code.Unauthenticated, Code.PermissionDenied, Code.NotFound].includes(known.code)) {
          clearTimeout(watchdog);
          if (!this.stopped) this.tell({ kind: "refused" });
          return;
        }
        reason = known.rawMessage;
      }
      clearTimeout(watchdog);
      if (this.stopped) return;
      failures = Math.max(0, failures) + 1;
      const most = Math.min(BACKOFF_MS[1], BACKOFF_MS[0] * 2 ** failures);
      const pause = most / 2 + (Math.random() * most) / 2;
      this.tell({ kind: "waiting", until: Date.now() + pause, reason });
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, pause);
        this.wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.wake = null;
    }
  }
}
