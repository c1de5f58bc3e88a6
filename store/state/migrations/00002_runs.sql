-- Runs of playbooks, and what happened to each. On SQLite they lie in audit.db, which is synced at each
-- commit: an act begins when its intent is on the disk.

-- +goose Up
CREATE TABLE runs (
    id TEXT PRIMARY KEY,
    incident TEXT NOT NULL,
    state TEXT NOT NULL,
    opened BIGINT NOT NULL,
    due BIGINT NOT NULL,
    unfinished BIGINT NOT NULL,
    doc TEXT NOT NULL
);
CREATE INDEX runs_opened ON runs (opened, id);
CREATE INDEX runs_incident ON runs (incident, opened);
CREATE INDEX runs_unfinished ON runs (unfinished, opened);

-- What of a run is written once, apart from what is written at each of its steps.
CREATE TABLE run_plans (
    run TEXT PRIMARY KEY,
    doc TEXT NOT NULL
);

CREATE TABLE run_records (
    run TEXT NOT NULL,
    seq BIGINT NOT NULL,
    doc TEXT NOT NULL,
    PRIMARY KEY (run, seq)
);

-- One row: the number of the server that runs playbooks, and who stopped all acts.
CREATE TABLE run_holder (
    one BIGINT PRIMARY KEY,
    fence BIGINT NOT NULL,
    stopped TEXT NOT NULL
);
INSERT INTO run_holder (one, fence, stopped) VALUES (1, 0, '');

-- +goose Down
DROP TABLE run_holder;
DROP TABLE run_records;
DROP TABLE run_plans;
DROP TABLE runs;
