package topichash

import (
	"encoding/binary"
	"encoding/hex"
	"math/bits"
)

// Constants of XXH3 (github.com/Cyan4973/xxHash, doc/xxhash_spec.md).
const (
	prime32x1 = 0x9E3779B1
	prime32x2 = 0x85EBCA77
	prime32x3 = 0xC2B2AE3D
	prime64x1 = 0x9E3779B185EBCA87
	prime64x2 = 0xC2B2AE3D27D4EB4F
	prime64x3 = 0x165667B19E3779F9
	prime64x4 = 0x85EBCA77C2B2AE63
	prime64x5 = 0x27D4EB2F165667C5
	primeMX1  = 0x165667919E3779F9
	primeMX2  = 0x9FB21C651E98DF25

	stripe      = 64
	blockStripe = 16 // stripes of a block
)

// secret is XXH3's default secret.
var secret = func() []byte {
	b, err := hex.DecodeString("" +
		"b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f" +
		"cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c" +
		"3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8" +
		"a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364" +
		"eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e" +
		"2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e")
	if err != nil {
		panic(err)
	}
	return b
}()

func le64(b []byte, at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }
func le32(b []byte, at int) uint64 { return uint64(binary.LittleEndian.Uint32(b[at:])) }

// fold is the exclusive or of the halves of a 128-bit product.
func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

func avalanche(x uint64) uint64 {
	x ^= x >> 37
	x *= primeMX1
	return x ^ x>>32
}

// avalanche64 is the one of XXH64.
func avalanche64(x uint64) uint64 {
	x ^= x >> 33
	x *= prime64x2
	x ^= x >> 29
	x *= prime64x3
	return x ^ x>>32
}

// xxh3 is the 64-bit XXH3 with seed 0.
func xxh3(b []byte) uint64 {
	switch n := len(b); {
	case n == 0:
		return avalanche64(le64(secret, 56) ^ le64(secret, 64))
	case n <= 3:
		x := uint64(b[0])<<16 | uint64(b[n>>1])<<24 | uint64(b[n-1]) | uint64(n)<<8
		return avalanche64(x ^ le32(secret, 0) ^ le32(secret, 4))
	case n <= 8:
		x := le32(b, n-4) + le32(b, 0)<<32
		x ^= le64(secret, 8) ^ le64(secret, 16)
		x ^= bits.RotateLeft64(x, 49) ^ bits.RotateLeft64(x, 24)
		x *= primeMX2
		x ^= x>>35 + uint64(n)
		x *= primeMX2
		return x ^ x>>28
	case n <= 16:
		lo := le64(b, 0) ^ le64(secret, 24) ^ le64(secret, 32)
		hi := le64(b, n-8) ^ le64(secret, 40) ^ le64(secret, 48)
		return avalanche(uint64(n) + bits.ReverseBytes64(lo) + hi + fold(lo, hi))
	case n <= 128:
		sum := uint64(n) * prime64x1
		for i := (n - 1) / 32; i >= 0; i-- {
			sum += mix(b, 16*i, 32*i) + mix(b, n-16*(i+1), 32*i+16)
		}
		return avalanche(sum)
	case n <= 240:
		sum := uint64(n) * prime64x1
		for i := range 8 {
			sum += mix(b, 16*i, 16*i)
		}
		sum = avalanche(sum)
		for i := 8; i < n/16; i++ {
			sum += mix(b, 16*i, 16*(i-8)+3)
		}
		return avalanche(sum + mix(b, n-16, 136-17))
	}
	return long(b)
}

// mix takes in 16 bytes.
func mix(b []byte, at, key int) uint64 {
	return fold(le64(b, at)^le64(secret, key), le64(b, at+8)^le64(secret, key+8))
}

// long is for more than 240 bytes.
func long(b []byte) uint64 {
	acc := [8]uint64{prime32x3, prime64x1, prime64x2, prime64x3, prime64x4, prime32x2, prime64x5, prime32x1}
	accumulate := func(p []byte, key int) {
		for i := range acc {
			v := le64(p, 8*i)
			k := v ^ le64(secret, key+8*i)
			acc[i^1] += v
			acc[i] += k & 0xFFFFFFFF * (k >> 32)
		}
	}
	last := len(secret) - stripe
	stripes := (len(b) - 1) / stripe
	for i := range stripes {
		accumulate(b[stripe*i:], 8*(i%blockStripe))
		if i%blockStripe == blockStripe-1 {
			for k := range acc {
				acc[k] = (acc[k] ^ acc[k]>>47 ^ le64(secret, last+8*k)) * prime32x1
			}
		}
	}
	accumulate(b[len(b)-stripe:], last-7)
	sum := uint64(len(b)) * prime64x1
	for i := range 4 {
		sum += fold(acc[2*i]^le64(secret, 11+16*i), acc[2*i+1]^le64(secret, 11+16*i+8))
	}
	return avalanche(sum)
}
