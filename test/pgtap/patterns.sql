\ir common.psql
SELECT plan(68);

SELECT is(topic_matches(pattern, topic), expected,
	format('%s: %s %s %s', what, pattern, CASE WHEN expected THEN 'matches' ELSE 'does not match' END, left(topic, 60)))
FROM (VALUES
	('the whole value', 'job.a', 'job.a', true),
	('the whole value', 'job.a', 'job.ab', false),
	('the whole value', 'job.a', 'xjob.a', false),
	('a dot is a dot', 'job.a', 'jobxa', false),
	('* is any run', 'job.*', 'job.a', true),
	('* is any run', 'job.*', 'xjob.a', false),
	('* crosses dots', 'job.*', 'job.a.b.c', true),
	('* is the empty run', 'job.*', 'job.', true),
	('* is the empty run', 'job*', 'job', true),
	('* needs what stands around it', 'job.*', 'job', false),
	('* in the middle', 'job.*.write', 'job.a.b.write', true),
	('* in the middle', 'job.*.write', 'job.a.b.writes', false),
	('* at both ends', '*secret*', 'my.secret.job', true),
	('* alone', '*', 'x', true),
	('several *', '*a*b*c*', 'xxaxxbxxcxx', true),
	('several *', '*a*b*c*', 'xxaxxcxxbxx', false),
	('two * side by side', 'a**b', 'ab', true),
	('segments do not overlap', 'ab*ba', 'aba', false),
	('segments do not overlap', 'ab*ba', 'abba', true),
	('? is one character', 'v?', 'v1', true),
	('? is one character', 'v?', 'v', false),
	('? is one character', 'v?', 'v12', false),
	('? is one character, not one byte', 'v?', U&'v\00E9', true),
	('? is one character, not one byte', 'v?', U&'v\+01F600', true),
	('? and *', '?*?', 'ab', true),
	('? and *', '?*?', 'a', false),
	('? between *', '*?b?*', 'aabaa', true),
	('a class', 'v[12]', 'v2', true),
	('a class', 'v[12]', 'v3', false),
	('a class is one character', 'v[12]', 'v12', false),
	('a range', 'v[0-9]', 'v5', true),
	('a range', 'v[0-9]', 'va', false),
	('a range and more', 'v[0-9a-fx]', 'vx', true),
	('a range and more', 'v[0-9a-fx]', 'vg', false),
	('a class of capitals is of small letters', 'v[A-F]', 'vb', true),
	('a negated class', 'v[!0-9]', 'va', true),
	('a negated class', 'v[!0-9]', 'v5', false),
	('a negated class needs a character', 'v[!0-9]', 'v', false),
	('a negated class takes any other character', 'v[!0-9]', U&'v\00E9', true),
	('! elsewhere is itself', 'v[1!]', 'v!', true),
	('- at the end of a class is itself', 'v[a-]', 'v-', true),
	('* in a class is itself', 'v[*]', 'v*', true),
	('* in a class is itself', 'v[*]', 'va', false),
	('? in a class is itself', 'v[?]', 'v?', true),
	('an escape', 'a\*b', 'a*b', true),
	('an escape', 'a\*b', 'axb', false),
	('an escape', 'a\?b', 'axb', false),
	('an escape', 'a\[b', 'a[b', true),
	('an escape', 'a\\b', 'a\b', true),
	('an escape in a class', 'a[\]]b', 'a]b', true),
	('an escape in a class', 'a[\!x]b', 'a!b', true),
	('an escape in a class', 'a[a\-c]b', 'a-b', true),
	('an escape in a class', 'a[a\-c]b', 'abb', false),
	('a class member is normalised', U&'v[\FF11]', 'v1', true),
	('a class member may be of any script', U&'v[\00E9\00E8]', U&'ve\0301', true),
	('a full-width asterisk is no wildcard', U&'job.\FF0A', 'job.anything', false),
	('a full-width asterisk is an asterisk', U&'job.\FF0A', 'job.*', true),
	('a full-width question mark is no wildcard', U&'job\FF1F', 'joba', false),
	('a full-width bracket opens no class', U&'v\FF3B12\FF3D', 'v1', false),
	('literals are normalised', U&'JO\200BB.A', 'job.a', true),
	('white space at the outer ends is trimmed', '  job.a  ', 'job.a', true),
	('white space inside stays', 'job .a', 'job.a', false),
	('white space next to a wildcard is inside', '* x', 'a x', true),
	('white space next to a wildcard is inside', '* x', 'ax', false)
) AS t(what, pattern, topic, expected);

-- Linear time, whatever the pattern: one that backtracks would not end.
SELECT is(topic_matches(repeat('a*', 200) || 'b', repeat('a', 1024)), false,
	'a pattern of 200 wildcards over the longest topic ends');
SELECT is(topic_matches(repeat('*?a', 200) || '*b', repeat('a', 1024)), false,
	'so does one that mixes * and ?');
SELECT is(topic_matches('*' || repeat('[!b]', 500) || 'b*', repeat('a', 1024)), false,
	'so does one of 500 classes');
SELECT is(topic_matches('*' || repeat('a?', 100) || '*', repeat('a', 1024)), true,
	'and a long one still matches');

SELECT * FROM finish();
ROLLBACK;
