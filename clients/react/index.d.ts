import type { CSSProperties, ReactElement } from "react";

/** The target of a button. */
export interface CoachAction {
  id: string;
  url: string;
}

/** A call that was booked; times are ISO 8601 in UTC. */
export interface BookedCall {
  interaction_id: string;
  starts_at: string;
  ends_at: string;
  csm: { name: string; email: string };
  ics_url: string;
  manage_url: string;
}

/** A milestone that is being celebrated. */
export interface Celebration {
  id: string;
  title: string;
  body: string;
  certificate_url: string | null;
}

interface Common {
  /** The supplier. Only the token decides whose coach it is; this tells the wrapper when the supplier changes. */
  supplierId?: string;
  /** Address of Everafter, such as "https://success.example.com". Default: the page's origin. */
  server?: string;
  /** The path that selects tips. Default: the browser's, whose changes are followed. */
  page?: string;
  /** A language tag such as "de-AT". Default: the nearest `lang`, then the browser's. */
  locale?: string;
  /** Base of actions' paths, if the platform is not at the root of its origin. */
  app?: string;
  className?: string;
  style?: CSSProperties;
  /** Return false to navigate with your own router; otherwise the browser navigates. */
  onAction?: (action: CoachAction, event: CustomEvent<CoachAction>) => boolean | void;
  onBooked?: (call: BookedCall, event: CustomEvent<BookedCall>) => void;
  onCelebrate?: (celebration: Celebration, event: CustomEvent<Celebration>) => void;
  /** The coach could not be loaded or reached. The supplier sees nothing, and it is retried. */
  onError?: (error: unknown) => void;
}

/** Where the token comes from: a function, or an address of your platform that answers `{"token": "…"}`. */
export type InAppCoachProps = Common &
  ({ getToken: (supplierId?: string) => Promise<string>; tokenUrl?: never } | { tokenUrl: string; getToken?: never });

export declare function InAppCoach(props: InAppCoachProps): ReactElement;

/** Load the custom element in advance. Safe to repeat. */
export declare function loadCoach(server?: string): Promise<unknown>;
