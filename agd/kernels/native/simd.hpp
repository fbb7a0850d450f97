// Which vector instructions are used: those of the processor, found out once, or fewer for tests.
#pragma once

#include "common.hpp"

#include <algorithm>
#include <atomic>

#if defined(__x86_64__) && !defined(AGD_PORTABLE)
#include <cpuid.h>
#include <immintrin.h>
#define AGD_X86 1
#define AGD_AVX2 __attribute__((target("avx2,bmi2,popcnt")))
#define AGD_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx2,bmi2,popcnt")))
#endif

// Of a lambda that is compiled for the instructions of the function that it is handed to; what it calls is inlined too.
#define AGD_INLINED __attribute__((always_inline))

namespace agd {

// GATHERS: to load sixteen entries of a table by one instruction is faster than one by one.
enum class Simd : int { NONE, AVX2, AVX512, GATHERS };

inline Simd processor_simd() {
#if defined(AGD_X86)
    static const Simd best = [] {
        const bool has = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt");
        if (!has) return Simd::NONE;
        const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
        if (!wide) return Simd::AVX2;
        // Of the processors that have half-precision numbers (leaf 7, bit 23 of edx, which not every compiler knows by
        // name) none is slow at it; of those before, and of AMD, some are.
        unsigned a = 0, b = 0, c = 0, d = 0;
        return __get_cpuid_count(7, 0, &a, &b, &c, &d) && d >> 23 & 1 ? Simd::GATHERS : Simd::AVX512;
    }();
    return best;
#else
    return Simd::NONE;
#endif
}

inline std::atomic<int> simd_limit{(int)Simd::GATHERS};

// The instructions that kernels may use.
inline Simd simd() { return std::min(processor_simd(), (Simd)simd_limit.load(std::memory_order_relaxed)); }

#if defined(AGD_X86)
template <class F> AGD_AVX2 auto run_avx2(const F &f) { return f(); }
#endif

// Calls f, an AGD_INLINED lambda, compiled for AVX2 where that may be used.
template <class F> auto vectorised(const F &f) {
#if defined(AGD_X86)
    if (simd() >= Simd::AVX2) return run_avx2(f);
#endif
    return f();
}

}  // namespace agd
