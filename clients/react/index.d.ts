import type { CSSProperties, ReactElement } from "react";

/** What a card's, a step's or a recommendation's button leads to. */
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
  /** Whom the coach is for. The token alone decides that; this tells the wrapper when somebody else has come. */
  supplierId?: string;
  /** Where Everafter answers, such as "https://success.example.com". Default: the page's own origin. */
  server?: string;
  /** The path the supplier sees. Default: the browser's own, whose changes are followed. */
  page?: string;
  /** A language tag such as "de-AT". Default: the nearest `lang`, then the browser's. */
  locale?: string;
  /** Where paths of actions lead, when the platform does not stand at its origin's root. */
  app?: string;
  className?: string;
  style?: CSSProperties;
  /** Return false to go there by the platform's own router; otherwise the browser does. */
  onAction?: (action: CoachAction, event: CustomEvent<CoachAction>) => boolean | void;
  onBooked?: (call: BookedCall, event: CustomEvent<BookedCall>) => void;
  onCelebrate?: (celebration: Celebration, event: CustomEvent<Celebration>) => void;
  /** The coach could not be loaded or reached. It says nothing to the supplier and tries again. */
  onError?: (error: unknown) => void;
}

/** Who gives the token: a function of the platform's, or an address of it that answers `{"token": "…"}`. */
export type InAppCoachProps = Common &
  ({ getToken: (supplierId?: string) => Promise<string>; tokenUrl?: never } | { tokenUrl: string; getToken?: never });

export declare function InAppCoach(props: InAppCoachProps): ReactElement;

/** Loads the custom element beforehand; safe to call any number of times. */
export declare function loadCoach(server?: string): Promise<unknown>;
