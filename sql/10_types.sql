--
-- Types
--

CREATE TYPE policy_decision AS ENUM
	('ALLOW', 'ALLOW_WITH_CONSTRAINTS', 'THROTTLE', 'REQUIRE_APPROVAL', 'DENY');
COMMENT ON TYPE policy_decision IS
	'What a policy decides of a job, from loosest to strictest: max(decision) is the strictest.';

CREATE TYPE policy_document;

CREATE FUNCTION policy_document_in(cstring) RETURNS policy_document
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION policy_document_in(cstring) IS
	'Input: parses and checks a YAML or JSON policy. Raises PE001 with every error''s line:column.';

CREATE FUNCTION policy_document_out(policy_document) RETURNS cstring
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION policy_document_out(policy_document) IS
	'Output: the policy''s text as it was given, byte for byte.';

CREATE FUNCTION policy_document_recv(internal) RETURNS policy_document
	AS 'MODULE_PATHNAME' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION policy_document_recv(internal) IS
	'Binary input: the policy''s text, checked as by policy_document_in. Raises PE001.';

CREATE FUNCTION policy_document_send(policy_document) RETURNS bytea
	AS 'MODULE_PATHNAME' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION policy_document_send(policy_document) IS
	'Binary output: the policy''s text.';

CREATE TYPE policy_document (
	INPUT = policy_document_in,
	OUTPUT = policy_document_out,
	RECEIVE = policy_document_recv,
	SEND = policy_document_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = int4,
	-- Not compressed: its parts are fetched by themselves.
	STORAGE = external
);
COMMENT ON TYPE policy_document IS
	'A policy that has been checked: its text form is the YAML or JSON that was given.';

CREATE FUNCTION policy_document_lt(policy_document, policy_document) RETURNS boolean
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION policy_document_lt(policy_document, policy_document) IS
	'Whether the first document''s bytes come before the second''s.';
CREATE FUNCTION policy_document_le(policy_document, policy_document) RETURNS boolean
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION policy_document_le(policy_document, policy_document) IS
	'Whether the first document''s bytes come before the second''s, or are the same.';
CREATE FUNCTION policy_document_eq(policy_document, policy_document) RETURNS boolean
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION policy_document_eq(policy_document, policy_document) IS
	'Whether both documents have the same bytes.';
CREATE FUNCTION policy_document_ne(policy_document, policy_document) RETURNS boolean
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION policy_document_ne(policy_document, policy_document) IS
	'Whether the documents'' bytes differ.';
CREATE FUNCTION policy_document_ge(policy_document, policy_document) RETURNS boolean
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION policy_document_ge(policy_document, policy_document) IS
	'Whether the first document''s bytes come after the second''s, or are the same.';
CREATE FUNCTION policy_document_gt(policy_document, policy_document) RETURNS boolean
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION policy_document_gt(policy_document, policy_document) IS
	'Whether the first document''s bytes come after the second''s.';
CREATE FUNCTION policy_document_cmp(policy_document, policy_document) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION policy_document_cmp(policy_document, policy_document) IS
	'btree order of two documents'' bytes: less than, equal to or greater than 0.';
CREATE FUNCTION policy_document_hash(policy_document) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION policy_document_hash(policy_document) IS
	'Hash of a document''s bytes.';
CREATE FUNCTION policy_document_hash_extended(policy_document, bigint) RETURNS bigint
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION policy_document_hash_extended(policy_document, bigint) IS
	'64-bit hash of a document''s bytes, with a seed.';

CREATE OPERATOR < (
	LEFTARG = policy_document, RIGHTARG = policy_document, FUNCTION = policy_document_lt,
	COMMUTATOR = >, NEGATOR = >=, RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
CREATE OPERATOR <= (
	LEFTARG = policy_document, RIGHTARG = policy_document, FUNCTION = policy_document_le,
	COMMUTATOR = >=, NEGATOR = >, RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
CREATE OPERATOR = (
	LEFTARG = policy_document, RIGHTARG = policy_document, FUNCTION = policy_document_eq,
	COMMUTATOR = =, NEGATOR = <>, RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES
);
CREATE OPERATOR <> (
	LEFTARG = policy_document, RIGHTARG = policy_document, FUNCTION = policy_document_ne,
	COMMUTATOR = <>, NEGATOR = =, RESTRICT = neqsel, JOIN = neqjoinsel
);
CREATE OPERATOR >= (
	LEFTARG = policy_document, RIGHTARG = policy_document, FUNCTION = policy_document_ge,
	COMMUTATOR = <=, NEGATOR = <, RESTRICT = scalargesel, JOIN = scalargejoinsel
);
CREATE OPERATOR > (
	LEFTARG = policy_document, RIGHTARG = policy_document, FUNCTION = policy_document_gt,
	COMMUTATOR = <, NEGATOR = <=, RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
COMMENT ON OPERATOR < (policy_document, policy_document) IS 'less than, bytewise';
COMMENT ON OPERATOR <= (policy_document, policy_document) IS 'less than or equal, bytewise';
COMMENT ON OPERATOR = (policy_document, policy_document) IS 'equal, bytewise';
COMMENT ON OPERATOR <> (policy_document, policy_document) IS 'not equal, bytewise';
COMMENT ON OPERATOR >= (policy_document, policy_document) IS 'greater than or equal, bytewise';
COMMENT ON OPERATOR > (policy_document, policy_document) IS 'greater than, bytewise';

CREATE OPERATOR CLASS policy_document_ops
	DEFAULT FOR TYPE policy_document USING btree AS
	OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >,
	FUNCTION 1 policy_document_cmp(policy_document, policy_document);
CREATE OPERATOR CLASS policy_document_hash_ops
	DEFAULT FOR TYPE policy_document USING hash AS
	OPERATOR 1 =,
	FUNCTION 1 policy_document_hash(policy_document),
	FUNCTION 2 policy_document_hash_extended(policy_document, bigint);
COMMENT ON OPERATOR CLASS policy_document_ops USING btree IS
	'Orders documents by their bytes.';
COMMENT ON OPERATOR CLASS policy_document_hash_ops USING hash IS
	'Hashes documents by their bytes.';

CREATE TYPE policy_verdict AS (
	decision policy_decision,
	reason text,
	constraints jsonb,
	matched_rule text,
	matched_rules text[],
	monitored_rules text[],
	snapshot text,
	retry_after_sec integer
);
COMMENT ON TYPE policy_verdict IS
	'What was decided of a job, why, and within which bounds.';
COMMENT ON COLUMN policy_verdict.decision IS 'The decision.';
COMMENT ON COLUMN policy_verdict.reason IS
	'The winning rule''s reason ("matched rule <id>" where it has none), or the default''s.';
COMMENT ON COLUMN policy_verdict.constraints IS
	'The bounds within which the job may run; {} for DENY, never NULL.';
COMMENT ON COLUMN policy_verdict.matched_rule IS
	'The winning rule''s id; NULL where the default decided.';
COMMENT ON COLUMN policy_verdict.matched_rules IS
	'Every applying rule''s id in document order (first_match: the winner''s); empty where none.';
COMMENT ON COLUMN policy_verdict.monitored_rules IS
	'Every rule in monitor mode that would have applied.';
COMMENT ON COLUMN policy_verdict.snapshot IS
	'The snapshot''s name; NULL for a document that is not stored.';
COMMENT ON COLUMN policy_verdict.retry_after_sec IS
	'THROTTLE: seconds to wait, the greatest of the applying throttle rules; else NULL.';
