/*
 * normalize.h
 *	  The form in which strings of policies and jobs are compared.
 *
 * Default-ignorable, bidirectional-control and control characters are removed
 * and the rest put in NFKC, repeated until nothing changes; white space is then
 * trimmed at the outer ends and ASCII letters are lowered.
 */
#ifndef POLICY_NORMALIZE_H
#define POLICY_NORMALIZE_H

#define POLICY_TRIM_LEFT 1
#define POLICY_TRIM_RIGHT 2
#define POLICY_TRIM (POLICY_TRIM_LEFT | POLICY_TRIM_RIGHT)

/*
 * Normalises len bytes of valid UTF-8.  *out is src itself where nothing
 * changes, else palloc'd; it is not NUL-terminated.  Returns false, with *out
 * unset, for text that is not stream-safe (more than 30 combining characters in
 * a row, UAX #15, section 13): its canonical order would cost quadratic time.
 */
extern bool policy_normalize(const char *src, int len, int trim,
							 const char **out, int *outlen);

#endif							/* POLICY_NORMALIZE_H */
