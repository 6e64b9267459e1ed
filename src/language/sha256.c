/*
 * sha256.c
 *	  SHA-256 by the processor's own instructions (FIPS 180-4).
 *
 * Every decision takes the digest of a few hundred bytes.  PostgreSQL's way to one, by
 * way of OpenSSL 3, looks its algorithm up each time, which takes several times as long
 * as the digest itself; and it offers no way to keep what was found.  Processors without
 * these instructions take that way.
 */
#include "postgres.h"

#include "language/sha256.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include <cpuid.h>
#include <immintrin.h>

#include "common/sha2.h"
#include "port/pg_bswap.h"

#define BLOCK 64
#define ROUNDS 64

/* Of the processor's flags: leaf 7 has SHA, leaf 1 what arranges its operands. */
#define LEAF_7_EBX_SHA (1 << 29)
#define LEAF_1_ECX_SSSE3 (1 << 9)
#define LEAF_1_ECX_SSE41 (1 << 19)

static const uint32 constants[ROUNDS] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2
};

/* The state's words as the instructions want them, the highest first. */
typedef struct State
{
	__m128i		abef;
	__m128i		cdgh;
} State;

static bool
processor_has_sha(void)
{
	const unsigned int arranging = LEAF_1_ECX_SSSE3 | LEAF_1_ECX_SSE41;
	unsigned int a,
				b,
				c,
				d;

	return __get_cpuid(1, &a, &b, &c, &d) && (c & arranging) == arranging &&
		__get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & LEAF_7_EBX_SHA) != 0;
}

__attribute__((target("sha,sse4.1")))
static void
add_block(State *state, const char *block)
{
	const		__m128i big_endian = _mm_set_epi64x(INT64CONST(0x0c0d0e0f08090a0b),
													INT64CONST(0x0405060700010203));
	State		before = *state;
	__m128i		words[4];

	for (int i = 0; i < 4; i++)
		words[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *) block + i), big_endian);
#pragma GCC unroll 16
	for (int i = 0; i < ROUNDS / 4; i++)
	{
		__m128i    *now = &words[i % 4];
		__m128i		sum = _mm_add_epi32(*now, _mm_loadu_si128((const __m128i *) constants + i));

		state->cdgh = _mm_sha256rnds2_epu32(state->cdgh, state->abef, sum);
		state->abef = _mm_sha256rnds2_epu32(state->abef, state->cdgh, _mm_shuffle_epi32(sum, 0x0E));
		if (i < ROUNDS / 4 - 4)
			*now = _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32(*now, words[(i + 1) % 4]),
													  _mm_alignr_epi8(words[(i + 3) % 4], words[(i + 2) % 4], 4)),
										words[(i + 3) % 4]);
	}
	state->abef = _mm_add_epi32(state->abef, before.abef);
	state->cdgh = _mm_add_epi32(state->cdgh, before.cdgh);
}

/* The rest of the data, the padding, and the length in bits. */
static int
last_blocks(const char *rest, int restlen, uint64 len, char *blocks)
{
	int			size = restlen + 1 + sizeof(uint64) <= BLOCK ? BLOCK : 2 * BLOCK;
	uint64		bits = pg_hton64(len * 8);

	memset(blocks, 0, size);
	memcpy(blocks, rest, restlen);
	blocks[restlen] = (char) 0x80;
	memcpy(blocks + size - sizeof(bits), &bits, sizeof(bits));
	return size;
}

static void
store(uint32 *words, __m128i half)
{
	uint32		parts[4];

	_mm_storeu_si128((__m128i *) parts, half);
	words[0] = pg_hton32(parts[3]);
	words[1] = pg_hton32(parts[2]);
	words[4] = pg_hton32(parts[1]);
	words[5] = pg_hton32(parts[0]);
}

bool
sha256_by_processor(const char *data, int len, uint8 *digest)
{
	static int	has_sha = -1;
	State		state = {
		_mm_set_epi32(0x6a09e667, (int) 0xbb67ae85, 0x510e527f, (int) 0x9b05688c),
		_mm_set_epi32(0x3c6ef372, (int) 0xa54ff53a, 0x1f83d9ab, 0x5be0cd19)
	};
	char		last[2 * BLOCK];
	int			whole = len - len % BLOCK;
	int			size;
	uint32		words[PG_SHA256_DIGEST_LENGTH / sizeof(uint32)];

	if (has_sha < 0)
		has_sha = processor_has_sha() ? 1 : 0;
	if (has_sha == 0)
		return false;
	for (int i = 0; i < whole; i += BLOCK)
		add_block(&state, data + i);
	size = last_blocks(data + whole, len - whole, len, last);
	for (int i = 0; i < size; i += BLOCK)
		add_block(&state, last + i);
	store(words, state.abef);
	store(words + 2, state.cdgh);
	memcpy(digest, words, sizeof(words));
	return true;
}

#else

bool
sha256_by_processor(const char *data, int len, uint8 *digest)
{
	return false;
}

#endif
