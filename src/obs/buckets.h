// The one table of histogram buckets; the numbers are SGLang's, so that its dashboards and alerts keep their meaning.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <vector>

#include "base/result.h"

namespace sgl::buckets {

// Seconds.
inline constexpr double kTimeToFirstToken[] = {.1, .2, .4, .6, .8, 1, 2, 4, 6, 8, 10, 20, 40, 60, 80, 100, 200, 400};
inline constexpr double kInterTokenLatency[] = {.002, .004, .006, .008, .010, .015, .020, .025, .030, .035, .040, .060,
                                                .080, .1,   .2,   .4,   .6,   .8,   1,    2,    4,    6,    8};
inline constexpr double kEndToEnd[] = {.1, .2, .4, .6, .8, 1, 2, 4, 6, 8, 10, 20, 40, 60, 80, 100, 200, 400, 600, 1200, 1800, 2400};
inline constexpr double kQueueTime[] = {0,   .001, .005, .01, .05,  .1,   .2,   .5,   1,    2,    3,    4,   5,   10,
                                        15,  20,   30,   40,  50,   60,   70,   80,   90,   100,  200,  300, 400, 500,
                                        600, 700,  800,  900, 1000, 1200, 1400, 1600, 1800, 2000, 2500, 3000};
inline constexpr double kGrammarCompile[] = {0, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 20, 30, 60, 90, 120, 240};
inline constexpr double kGetLoads[] = {.0001, .0005, .001, .005, .01, .05, .1, .5, 1};
// Tokens.
inline constexpr double kTokens[] = {100,   300,   500,   700,    1000,   1500,   2000,   3000,   4000,   5000,    6000,   7000,
                                     8000,  9000,  10000, 12500,  15000,  17500,  20000,  22500,  25000,  27500,   30000,  35000,
                                     40000, 60000, 80000, 100000, 200000, 300000, 400000, 600000, 800000, 1000000, 1100000};

// --bucket-*: ascending numbers. Errors name the entry.
Result<std::vector<double>> ParseBounds(const std::vector<std::string>& words);

// --prompt-tokens-buckets, --generation-tokens-buckets: "default", "tse <middle> <base> <count>" (middle and middle +- base^i for i up to
// count/2, rounded up; negative ones become 0) or "custom <v1> <v2> ...".
Result<std::vector<double>> ParseTokenRule(const std::vector<std::string>& words);

}  // namespace sgl::buckets
