-- The first schema, as it was released. It is not changed any more.
CREATE TABLE generations (
	id            TEXT PRIMARY KEY,
	at            BIGINT NOT NULL,
	replica       TEXT NOT NULL,
	organisation  TEXT NOT NULL,
	team          TEXT NOT NULL,
	key_id        TEXT NOT NULL,
	asked         TEXT NOT NULL,
	model         TEXT NOT NULL,
	provider      TEXT NOT NULL,
	provider_name TEXT NOT NULL,
	endpoint      TEXT NOT NULL,
	status        BIGINT NOT NULL,
	error         TEXT NOT NULL,
	finish_reason TEXT NOT NULL,
	streamed      BIGINT NOT NULL,
	rescued       TEXT NOT NULL,
	attempts      BIGINT NOT NULL,
	fallbacks     BIGINT NOT NULL,
	counted       BIGINT NOT NULL,
	prompt        BIGINT NOT NULL,
	completion    BIGINT NOT NULL,
	reasoning     BIGINT NOT NULL,
	cached        BIGINT NOT NULL,
	cache_write   BIGINT NOT NULL,
	cost          BIGINT NOT NULL,
	ttft_us       BIGINT NOT NULL,
	duration_us   BIGINT NOT NULL
);
CREATE INDEX generations_at ON generations (at);
CREATE TABLE lines (
	generation    TEXT NOT NULL,
	n             BIGINT NOT NULL,
	at            BIGINT NOT NULL,
	organisation  TEXT NOT NULL,
	team          TEXT NOT NULL,
	key_id        TEXT NOT NULL,
	model         TEXT NOT NULL,
	provider      TEXT NOT NULL,
	provider_name TEXT NOT NULL,
	endpoint      TEXT NOT NULL,
	purpose       TEXT NOT NULL,
	outcome       TEXT NOT NULL,
	status        BIGINT NOT NULL,
	body_sent     TEXT NOT NULL,
	duration_us   BIGINT NOT NULL,
	requests      BIGINT NOT NULL,
	failed        BIGINT NOT NULL,
	attempts      BIGINT NOT NULL,
	shown         BIGINT NOT NULL,
	counted       BIGINT NOT NULL,
	prompt        BIGINT NOT NULL,
	completion    BIGINT NOT NULL,
	reasoning     BIGINT NOT NULL,
	cached        BIGINT NOT NULL,
	cache_write   BIGINT NOT NULL,
	cost          BIGINT NOT NULL,
	latency_us    BIGINT NOT NULL,
	ttft_us       BIGINT NOT NULL,
	ttft_count    BIGINT NOT NULL,
	spoken        BIGINT NOT NULL,
	spoken_us     BIGINT NOT NULL,
	PRIMARY KEY (generation, n)
);
CREATE INDEX lines_organisation_at ON lines (organisation, at);
CREATE INDEX lines_at ON lines (at);
CREATE TABLE days (
	at            BIGINT NOT NULL,
	organisation  TEXT NOT NULL,
	team          TEXT NOT NULL,
	key_id        TEXT NOT NULL,
	model         TEXT NOT NULL,
	provider      TEXT NOT NULL,
	endpoint      TEXT NOT NULL,
	requests      BIGINT NOT NULL,
	failed        BIGINT NOT NULL,
	attempts      BIGINT NOT NULL,
	shown         BIGINT NOT NULL,
	prompt        BIGINT NOT NULL,
	completion    BIGINT NOT NULL,
	reasoning     BIGINT NOT NULL,
	cached        BIGINT NOT NULL,
	cache_write   BIGINT NOT NULL,
	cost_high     BIGINT NOT NULL,
	cost_low      BIGINT NOT NULL,
	latency_us    BIGINT NOT NULL,
	ttft_us       BIGINT NOT NULL,
	ttft_count    BIGINT NOT NULL,
	spoken        BIGINT NOT NULL,
	spoken_us     BIGINT NOT NULL,
	PRIMARY KEY (at, organisation, team, key_id, model, provider, endpoint)
);
CREATE TABLE claims (
	generation    TEXT NOT NULL,
	kind          TEXT NOT NULL,
	value         TEXT NOT NULL,
	organisation  TEXT NOT NULL,
	month         TEXT NOT NULL,
	PRIMARY KEY (generation, kind, value)
);
CREATE INDEX claims_organisation_month ON claims (organisation, month);
CREATE TABLE erased (
	organisation  TEXT NOT NULL,
	month         TEXT NOT NULL,
	PRIMARY KEY (organisation, month)
);
CREATE TABLE progress (
	replica       TEXT PRIMARY KEY,
	segment       BIGINT NOT NULL,
	position      BIGINT NOT NULL
);
CREATE TABLE chaperone_ledger (version BIGINT NOT NULL);
INSERT INTO chaperone_ledger (version) VALUES (1);
