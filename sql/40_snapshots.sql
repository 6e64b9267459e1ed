--
-- Snapshots and releases
--

CREATE FUNCTION policy.document_sha256(document policy_document) RETURNS bytea
	AS 'MODULE_PATHNAME', 'policy_document_sha256'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION policy.document_sha256(policy_document) IS
	'The SHA-256 of a document''s text, 32 bytes, from its header.';

CREATE TYPE policy.tree;

CREATE FUNCTION policy.tree_in(cstring) RETURNS policy.tree
	AS 'MODULE_PATHNAME', 'policy_tree_in' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION policy.tree_in(cstring) IS
	'Input: an empty text, for a tree comes from its document alone. Raises invalid_text_representation for any other.';

CREATE FUNCTION policy.tree_out(policy.tree) RETURNS cstring
	AS 'MODULE_PATHNAME', 'policy_tree_out' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION policy.tree_out(policy.tree) IS
	'Output: empty. The document is the text.';

CREATE FUNCTION policy.tree_recv(internal) RETURNS policy.tree
	AS 'MODULE_PATHNAME', 'policy_tree_recv' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION policy.tree_recv(internal) IS
	'Binary input: nothing. Raises invalid_binary_representation for anything.';

CREATE FUNCTION policy.tree_send(policy.tree) RETURNS bytea
	AS 'MODULE_PATHNAME', 'policy_tree_send' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION policy.tree_send(policy.tree) IS
	'Binary output: empty.';

CREATE TYPE policy.tree (
	INPUT = policy.tree_in,
	OUTPUT = policy.tree_out,
	RECEIVE = policy.tree_recv,
	SEND = policy.tree_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = int4,
	STORAGE = main
);
COMMENT ON TYPE policy.tree IS
	'A document as a new session reads it fastest. Its text form is empty: it comes from its document alone, and no dump brings one in.';

-- So that a row of policy.snapshots can be compared with another.
CREATE CAST (policy.tree AS bytea) WITHOUT FUNCTION AS IMPLICIT;
COMMENT ON CAST (policy.tree AS bytea) IS 'The stored bytes.';

CREATE FUNCTION policy.document_tree(document policy_document) RETURNS policy.tree
	AS 'MODULE_PATHNAME', 'policy_tree_of_document'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION policy.document_tree(policy_document) IS
	'A document''s tree, compressed; NULL where that would take more room than a row has. Raises data_corrupted where the stored document is damaged.';

CREATE FUNCTION policy.check_document(document policy_document) RETURNS void
	AS 'MODULE_PATHNAME', 'policy_check_document'
	LANGUAGE C STABLE STRICT PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION policy.check_document(policy_document) IS
	'What policy_stage asks of a document beyond its type: at most policy_engine.max_document_bytes, and approvers that are roles of this cluster. Raises PE001.';

CREATE FUNCTION policy.refuse_change() RETURNS trigger
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	RAISE EXCEPTION USING
		ERRCODE = 'PE011',
		MESSAGE = format('%I.%I is append-only', TG_TABLE_SCHEMA, TG_TABLE_NAME),
		DETAIL = format('%s was refused; nothing was changed.', TG_OP),
		HINT = 'What was recorded stays; what is wrong is put right by another row: another snapshot, release or decision.';
END
$$;
COMMENT ON FUNCTION policy.refuse_change() IS
	'Trigger of append-only tables: raises PE011.';

CREATE FUNCTION policy.release_made() RETURNS trigger
	AS 'MODULE_PATHNAME', 'policy_release_made'
	LANGUAGE C;
COMMENT ON FUNCTION policy.release_made() IS
	'Trigger of policy.releases: makes this session''s next evaluation look for the active policy again.';

CREATE TABLE policy.snapshots (
	snapshot text COLLATE "C" NOT NULL,
	document policy_document NOT NULL,
	sha256 bytea NOT NULL,
	note text,
	staged_by text NOT NULL,
	staged_at timestamptz NOT NULL,
	tree policy.tree,
	CONSTRAINT snapshots_pkey PRIMARY KEY (snapshot)
);
-- Neither here nor in policy.releases is there a CHECK or a generated column: what a new
-- session must load of a table's definition is a tenth of its first decision.
-- The document is out of line, and the tree in the row: what lies beside a tree is to
-- stay there too.
ALTER TABLE policy.snapshots ALTER snapshot SET STORAGE MAIN;
ALTER TABLE policy.snapshots ALTER sha256 SET STORAGE MAIN;
ALTER TABLE policy.snapshots ALTER staged_by SET STORAGE MAIN;
COMMENT ON TABLE policy.snapshots IS 'Immutable, named policies. Append-only.';
COMMENT ON COLUMN policy.snapshots.snapshot IS 'The name, 1 to 128 characters, none a control character.';
COMMENT ON COLUMN policy.snapshots.document IS 'The policy.';
COMMENT ON COLUMN policy.snapshots.sha256 IS 'SHA-256 of the policy''s text.';
COMMENT ON COLUMN policy.snapshots.note IS 'What its author said of it.';
COMMENT ON COLUMN policy.snapshots.staged_by IS 'The login that staged it; the role that was set, of a login with the duty proxy.';
COMMENT ON COLUMN policy.snapshots.staged_at IS 'When it was staged.';
COMMENT ON COLUMN policy.snapshots.tree IS 'The policy as a new session reads it, which has no text form; NULL for one that is too large to be kept in the row.';

CREATE FUNCTION policy.check_snapshot() RETURNS trigger
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF NEW.snapshot !~ '^[^[:cntrl:]]{1,128}$' THEN
		RAISE EXCEPTION USING
			ERRCODE = 'check_violation',
			MESSAGE = 'invalid snapshot name',
			DETAIL = format('%L has %s characters.', left(NEW.snapshot, 128), length(NEW.snapshot)),
			HINT = 'A name has 1 to 128 characters, none of them a control character.';
	END IF;
	NEW.sha256 := policy.document_sha256(NEW.document);
	NEW.tree := policy.document_tree(NEW.document);
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION policy.check_snapshot() IS
	'Trigger of policy.snapshots: sets sha256 and tree, whatever is given. Raises check_violation for a name that is too short or long, or has control characters.';

CREATE TRIGGER check_snapshot BEFORE INSERT ON policy.snapshots
	FOR EACH ROW EXECUTE FUNCTION policy.check_snapshot();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON policy.snapshots
	FOR EACH ROW EXECUTE FUNCTION policy.refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON policy.snapshots
	FOR EACH STATEMENT EXECUTE FUNCTION policy.refuse_change();
ALTER TABLE policy.snapshots ENABLE ALWAYS TRIGGER check_snapshot;
ALTER TABLE policy.snapshots ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE policy.snapshots ENABLE ALWAYS TRIGGER refuse_truncate;
COMMENT ON TRIGGER check_snapshot ON policy.snapshots IS 'A name that can be printed, and the text''s own SHA-256 and tree.';
COMMENT ON TRIGGER refuse_change ON policy.snapshots IS 'Append-only: raises PE011.';
COMMENT ON TRIGGER refuse_truncate ON policy.snapshots IS 'Append-only: raises PE011.';

CREATE TABLE policy.releases (
	release_id bigint NOT NULL,
	action text NOT NULL,
	snapshot text COLLATE "C" NOT NULL,
	previous_snapshot text COLLATE "C",
	note text,
	released_by text NOT NULL,
	released_at timestamptz NOT NULL,
	simulation_id bigint,
	override_reason text,
	loosened bigint,
	CONSTRAINT releases_pkey PRIMARY KEY (release_id)
);
-- No foreign key to snapshots: pg_restore -j loads both tables at once.  Nothing
-- but the verbs writes here, and they check.
COMMENT ON TABLE policy.releases IS
	'Every publish and rollback, in commit order; the newest is active. Append-only.';
COMMENT ON COLUMN policy.releases.release_id IS 'Counts up in the order of commits.';
COMMENT ON COLUMN policy.releases.action IS 'publish or rollback.';
COMMENT ON COLUMN policy.releases.snapshot IS 'What is in force from its commit on.';
COMMENT ON COLUMN policy.releases.previous_snapshot IS 'What was in force before; NULL for the first.';
COMMENT ON COLUMN policy.releases.note IS 'Why, in the words of who released it.';
COMMENT ON COLUMN policy.releases.released_by IS 'The login that released it; the role that was set, of a login with the duty proxy.';
COMMENT ON COLUMN policy.releases.released_at IS 'When it was released.';
COMMENT ON COLUMN policy.releases.simulation_id IS 'The simulation that let it pass; NULL where none was asked for.';
COMMENT ON COLUMN policy.releases.override_reason IS 'Why it was published all the same; NULL where nothing was overridden.';
COMMENT ON COLUMN policy.releases.loosened IS 'Recorded jobs that it decides more loosely; NULL where none were replayed.';

CREATE FUNCTION policy.check_release() RETURNS trigger
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF NEW.action NOT IN ('publish', 'rollback') THEN
		RAISE EXCEPTION USING
			ERRCODE = 'check_violation',
			MESSAGE = format('%L is no release', NEW.action),
			HINT = 'Release a snapshot by policy_publish or policy_rollback.';
	END IF;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION policy.check_release() IS
	'Trigger of policy.releases: raises check_violation for an action that is neither publish nor rollback.';

CREATE TRIGGER check_release BEFORE INSERT ON policy.releases
	FOR EACH ROW EXECUTE FUNCTION policy.check_release();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON policy.releases
	FOR EACH ROW EXECUTE FUNCTION policy.refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON policy.releases
	FOR EACH STATEMENT EXECUTE FUNCTION policy.refuse_change();
CREATE TRIGGER release_made AFTER INSERT ON policy.releases
	FOR EACH ROW EXECUTE FUNCTION policy.release_made();
ALTER TABLE policy.releases ENABLE ALWAYS TRIGGER check_release;
ALTER TABLE policy.releases ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE policy.releases ENABLE ALWAYS TRIGGER refuse_truncate;
ALTER TABLE policy.releases ENABLE ALWAYS TRIGGER release_made;
COMMENT ON TRIGGER check_release ON policy.releases IS 'A publish or a rollback.';
COMMENT ON TRIGGER refuse_change ON policy.releases IS 'Append-only: raises PE011.';
COMMENT ON TRIGGER refuse_truncate ON policy.releases IS 'Append-only: raises PE011.';
COMMENT ON TRIGGER release_made ON policy.releases IS 'Makes a release seen by the session that made it.';

CREATE TABLE policy.release_signal ();
COMMENT ON TABLE policy.release_signal IS
	'Always empty, and in no dump. A release invalidates what the server''s sessions have cached of it, and of nothing else: so they know that there is a newer one. It is locked from the commit on until they do: who holds it keeps commits of releases waiting.';

CREATE VIEW policy.active AS
	SELECT r.release_id, r.snapshot, r.released_at AS since, r.note, r.released_by
	FROM policy.releases r
	ORDER BY r.release_id DESC
	LIMIT 1;
COMMENT ON VIEW policy.active IS 'The release in force: one row, or none before the first.';
COMMENT ON COLUMN policy.active.release_id IS 'The newest release.';
COMMENT ON COLUMN policy.active.snapshot IS 'The snapshot in force.';
COMMENT ON COLUMN policy.active.since IS 'When it was released.';
COMMENT ON COLUMN policy.active.note IS 'Why, in the words of who released it.';
COMMENT ON COLUMN policy.active.released_by IS 'The login that released it; the role that was set, of a login with the duty proxy.';

SELECT pg_catalog.pg_extension_config_dump('policy.snapshots', '');
SELECT pg_catalog.pg_extension_config_dump('policy.releases', '');

CREATE FUNCTION policy_stage(snapshot text, document policy_document, note text)
	RETURNS policy.snapshots
	LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	staged policy.snapshots;
BEGIN
	IF policy_stage.snapshot IS NULL OR policy_stage.document IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'null_value_not_allowed',
			MESSAGE = 'a snapshot needs a name and a document',
			HINT = 'SELECT * FROM policy_stage(''v1'', ''version: v1 ...'', ''why'')';
	END IF;
	IF policy_stage.snapshot !~ '^[^[:cntrl:]]{1,128}$' THEN
		RAISE EXCEPTION USING
			ERRCODE = 'check_violation',
			MESSAGE = 'bad name of a snapshot',
			DETAIL = 'A name has 1 to 128 characters, none of them a control character.',
			HINT = 'Choose a name like v42.';
	END IF;
	PERFORM policy.check_document(policy_stage.document);
	INSERT INTO policy.snapshots AS s (snapshot, document, note, staged_by, staged_at)
		VALUES (policy_stage.snapshot, policy_stage.document, policy_stage.note,
				(policy.caller()).name, clock_timestamp())
		ON CONFLICT ON CONSTRAINT snapshots_pkey DO NOTHING
		RETURNING s.* INTO staged;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'PE003',
			MESSAGE = format('snapshot "%s" exists already', policy_stage.snapshot),
			DETAIL = 'A snapshot is immutable: what was reviewed under a name stays under it.',
			HINT = 'Stage the document under another name.';
	END IF;
	RETURN staged;
END
$$;
COMMENT ON FUNCTION policy_stage(text, policy_document, text) IS
	'Stores a policy as an immutable snapshot under a name and returns its row. Raises PE001 for a document that is too large or names an approver that is no role, PE003 for a name that is taken.';

CREATE FUNCTION policy.release(action text, snapshot text, note text, seen bigint, override_reason text,
		simulation_id bigint, loosened bigint)
	RETURNS policy.releases
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	active policy.active;
	made policy.releases;
BEGIN
	-- Before an id is taken: ids are in the order of commits.
	LOCK TABLE policy.releases IN SHARE ROW EXCLUSIVE MODE;
	SELECT a.* INTO active FROM policy.active a;
	IF active.release_id IS DISTINCT FROM seen THEN
		RAISE unique_violation;
	END IF;
	INSERT INTO policy.releases AS r
		(release_id, action, snapshot, previous_snapshot, note, released_by, released_at,
		 override_reason, simulation_id, loosened)
		VALUES (coalesce(seen, 0) + 1, release.action, release.snapshot, active.snapshot,
				release.note, (policy.caller()).name, clock_timestamp(), release.override_reason,
				release.simulation_id, release.loosened)
		RETURNING r.* INTO made;
	RETURN made;
EXCEPTION WHEN unique_violation THEN
	RAISE EXCEPTION USING
		ERRCODE = 'PE016',
		MESSAGE = 'somebody else made a release meanwhile',
		DETAIL = format('Nothing was released: %s of "%s" was decided on what is no longer active.',
						release.action, release.snapshot),
		HINT = 'SELECT * FROM policy_status() shows what is active now; then decide again.';
END
$$;
COMMENT ON FUNCTION policy.release(text, text, text, bigint, text, bigint, bigint) IS
	'Makes the next release, after policy_publish and policy_rollback have checked what is theirs to check, with the release that was active then (seen). Raises PE016 where another was committed meanwhile.';

CREATE FUNCTION policy.require_snapshot(snapshot text) RETURNS void
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF require_snapshot.snapshot IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'PE002',
			MESSAGE = 'the snapshot''s name is NULL',
			HINT = 'SELECT snapshot FROM policy.snapshots lists the names.';
	END IF;
	IF NOT EXISTS (SELECT FROM policy.snapshots s WHERE s.snapshot = require_snapshot.snapshot) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'PE002',
			MESSAGE = format('snapshot "%s" does not exist', require_snapshot.snapshot),
			HINT = 'SELECT snapshot FROM policy.snapshots lists the names; policy_stage(...) stores a policy under a new one.';
	END IF;
END
$$;
COMMENT ON FUNCTION policy.require_snapshot(text) IS
	'Raises PE002 where no snapshot of that name is staged.';

CREATE FUNCTION policy_publish(snapshot text, note text, override_reason text DEFAULT NULL)
	RETURNS policy.releases
	LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	active policy.active;
	passed record;
	made policy.releases;
BEGIN
	SELECT a.* INTO active FROM policy.active a;
	PERFORM policy.require_snapshot(policy_publish.snapshot);
	IF policy_publish.override_reason !~ '[^[:space:]]' THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'an override needs a reason',
			DETAIL = 'override_reason is blank. Nothing was released.',
			HINT = format('SELECT policy_publish(%L, ''note'', ''why all the same'')', policy_publish.snapshot);
	END IF;
	IF policy_publish.override_reason IS NOT NULL AND NOT policy.has_owner_rights()
		AND NOT policy.holds_duty((policy.caller()).name, 'override') THEN
		RAISE EXCEPTION USING
			ERRCODE = 'insufficient_privilege',
			MESSAGE = 'an override needs the duty override',
			DETAIL = 'Nothing was released.',
			HINT = 'Publish without override_reason, or have somebody publish who holds the duty.';
	END IF;
	PERFORM policy.require_tests(policy_publish.snapshot);
	IF policy_publish.override_reason IS NOT NULL THEN
		made := policy.release('publish', policy_publish.snapshot, policy_publish.note, active.release_id,
							   policy_publish.override_reason, NULL, NULL);
		PERFORM policy.record_override(made);
		RETURN made;
	END IF;
	SELECT g.simulation_id, g.loosened INTO passed FROM policy.pass_gate(policy_publish.snapshot, active) g;
	RETURN policy.release('publish', policy_publish.snapshot, policy_publish.note, active.release_id,
						  NULL, passed.simulation_id, passed.loosened);
END
$$;
COMMENT ON FUNCTION policy_publish(text, text, text) IS
	'Puts a staged snapshot in force, from this transaction''s commit on, and returns the release. Refuses unless its own tests pass and a simulation against what is active now is within the gate, or its flips were acknowledged; an override, which is recorded, needs no simulation. Raises PE002 for an unknown snapshot, PE004 where it was not replayed, PE005 for a stale simulation, PE006 outside the gate, PE007 where its own tests fail, 42501 for an override without the duty, invalid_parameter_value for one without a reason, invalid_transaction_state outside READ COMMITTED where a simulation is asked for, PE016 where somebody else released meanwhile.';

CREATE FUNCTION policy_rollback(target_snapshot text, note text)
	RETURNS policy.releases
	LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	active policy.active;
BEGIN
	SELECT a.* INTO active FROM policy.active a;
	PERFORM policy.require_snapshot(target_snapshot);
	IF NOT EXISTS (SELECT FROM policy.releases r WHERE r.snapshot = target_snapshot) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'PE002',
			MESSAGE = format('snapshot "%s" was never released', target_snapshot),
			DETAIL = 'A rollback goes to a snapshot that has been in force before.',
			HINT = format('SELECT policy_publish(%L, ''why'') releases it for the first time.', target_snapshot);
	END IF;
	RETURN policy.release('rollback', target_snapshot, policy_rollback.note, active.release_id, NULL, NULL,
						  policy.rollback_loosens(target_snapshot, active.snapshot));
END
$$;
COMMENT ON FUNCTION policy_rollback(text, text) IS
	'Puts a snapshot that was released before in force again, as a new release, and returns it. Raises PE002 for a snapshot that is unknown or was never released, PE016 where somebody else released meanwhile.';

-- A function in C: until the library is loaded, the setting is not known.
CREATE FUNCTION policy.fail_mode() RETURNS text
	AS 'MODULE_PATHNAME', 'policy_get_fail_mode'
	LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION policy.fail_mode() IS
	'policy_engine.fail_mode: closed or open.';
