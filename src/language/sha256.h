/*
 * sha256.h
 *	  SHA-256 by the processor's own instructions.
 */
#ifndef POLICY_SHA256_H
#define POLICY_SHA256_H

/* Sets digest (32 bytes) and returns true; false where the processor has none. */
extern bool sha256_by_processor(const char *data, int len, uint8 *digest);

#endif							/* POLICY_SHA256_H */
