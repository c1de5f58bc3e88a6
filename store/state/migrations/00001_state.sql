-- Times are nanoseconds since 1970 (0: none); documents are JSON text. Both databases read this file.

-- +goose Up
CREATE TABLE incidents (
    id TEXT PRIMARY KEY,
    version BIGINT NOT NULL,
    status TEXT NOT NULL,
    severity BIGINT NOT NULL,
    risk BIGINT NOT NULL,
    first_seen BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    words TEXT NOT NULL,
    doc TEXT NOT NULL
);
CREATE INDEX incidents_last_seen ON incidents (last_seen, id);
CREATE INDEX incidents_status ON incidents (status, last_seen);

CREATE TABLE findings (
    id TEXT PRIMARY KEY,
    time BIGINT NOT NULL,
    host TEXT NOT NULL,
    rule_id TEXT NOT NULL,
    rule_name TEXT NOT NULL,
    severity BIGINT NOT NULL,
    incident TEXT NOT NULL,
    doc TEXT NOT NULL
);
CREATE INDEX findings_time ON findings (time, id);
CREATE INDEX findings_incident ON findings (incident, time);

CREATE TABLE users (
    name TEXT PRIMARY KEY,
    role TEXT NOT NULL,
    password TEXT NOT NULL,
    disabled BIGINT NOT NULL,
    created BIGINT NOT NULL
);

CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE,
    creator TEXT NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    used BIGINT NOT NULL
);

CREATE TABLE sessions (
    hash TEXT PRIMARY KEY,
    username TEXT NOT NULL,
    csrf TEXT NOT NULL,
    link BIGINT NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL
);
CREATE INDEX sessions_user ON sessions (username);

CREATE TABLE links (
    hash TEXT PRIMARY KEY,
    username TEXT NOT NULL,
    expires BIGINT NOT NULL
);

CREATE TABLE agents (
    name TEXT PRIMARY KEY,
    serial TEXT NOT NULL,
    enrolled BIGINT NOT NULL,
    first_seen BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    revoked BIGINT NOT NULL,
    heartbeat TEXT NOT NULL
);

CREATE TABLE settings (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    changed BIGINT NOT NULL
);

CREATE TABLE audit (
    seq BIGINT PRIMARY KEY,
    time BIGINT NOT NULL,
    who TEXT NOT NULL,
    origin TEXT NOT NULL,
    what TEXT NOT NULL,
    object TEXT NOT NULL,
    ok BIGINT NOT NULL,
    detail TEXT NOT NULL,
    prev TEXT NOT NULL,
    hash TEXT NOT NULL
);

-- +goose Down
DROP TABLE audit;
DROP TABLE settings;
DROP TABLE agents;
DROP TABLE links;
DROP TABLE sessions;
DROP TABLE tokens;
DROP TABLE users;
DROP TABLE findings;
DROP TABLE incidents;
