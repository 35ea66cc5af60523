// Every question against the plain answer: sort the whole row, walk it.
// SPDX-License-Identifier: Apache-2.0
#include "engine/logits_scan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

namespace sgl {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Row {
  std::vector<float> logits;
  float inv_temperature;
};

std::vector<Row> Rows() {
  std::vector<Row> rows;
  std::mt19937 rng(3);
  for (const size_t n : {1, 2, 7, 1023, 1024, 1025, 5000, 49152})
    for (const float spread : {0.0f, 0.3f, 3.0f, 20.0f}) {
      std::normal_distribution<float> normal(0, spread == 0 ? 1 : spread);
      Row row{std::vector<float>(n), spread == 3.0f ? 0.5f : 1.0f};
      for (float& x : row.logits) x = spread == 0 ? 1.5f : normal(rng);  // all equal: the order is by id alone
      if (n > 3 && spread == 3.0f)                                       // a mask that leaves a few
        for (size_t i = 0; i < n; ++i)
          if (i % 5 != 0 || (i > 2000 && i < 4000)) row.logits[i] = -kInfinity;
      rows.push_back(std::move(row));
    }
  return rows;
}

struct Plain {
  explicit Plain(const Row& row) : inv_temperature(row.inv_temperature) {
    for (size_t i = 0; i < row.logits.size(); ++i) order.push_back({row.logits[i], static_cast<TokenId>(i)});
    std::sort(order.begin(), order.end(), Before);
  }
  double Weight(const Candidate& c) const { return std::exp((static_cast<double>(c.logit) - order.front().logit) * inv_temperature); }
  double sum() const {
    double total = 0;
    for (const Candidate& c : order) total += Weight(c);
    return total;
  }
  // The definition; `sum` is given so that a cut at exactly top_p falls alike.
  TokenId Draw(const LogitsScan::Filter& f, double sum, double u) const {
    double mass = 0;
    size_t keep = 0;
    for (; keep < order.size() && keep < f.top_k; ++keep) {
      if (keep > 0 && (mass > f.top_p * sum || Weight(order[keep]) < f.min_p)) break;
      mass += Weight(order[keep]);
    }
    double left = u * mass;
    for (size_t i = 0; i < keep; ++i)
      if ((left -= Weight(order[i])) < 0) return order[i].token;
    return order.front().token;
  }
  std::vector<Candidate> order;
  float inv_temperature;
};

TEST(LogitsScan, SumsAndMaxima) {
  LogitsScan scan;
  for (const Row& row : Rows()) {
    scan.Scan(row.logits, row.inv_temperature);
    const Plain plain(row);
    ASSERT_TRUE(scan.usable());
    EXPECT_EQ(scan.max(), plain.order.front().logit);
    EXPECT_NEAR(scan.sum() / plain.sum(), 1, 1e-5);
  }
}

TEST(LogitsScan, FilteredDrawsEqualThePlainOnes) {
  LogitsScan scan;
  std::mt19937 rng(11);
  for (const Row& row : Rows()) {
    const Plain plain(row);
    const size_t n = row.logits.size();
    for (int trial = 0; trial < 12; ++trial) {
      LogitsScan::Filter f{n, 1, 0};
      if (trial % 2 == 0) f.top_k = 1 + rng() % std::min<size_t>(n, trial % 4 == 0 ? 8 : 3000);
      if (trial % 3 != 1) f.top_p = (1 + rng() % 99) / 100.0;
      if (trial % 5 == 0) f.min_p = 1e-6 * static_cast<double>(rng() % 100000);
      scan.Scan(row.logits, row.inv_temperature);
      for (const double u : {0.0, 0.2, 0.5, 0.93, 0.9999999}) ASSERT_EQ(scan.DrawFiltered(f, u), plain.Draw(f, scan.sum(), u)) << n;
    }
  }
}

TEST(LogitsScan, UnfilteredDrawsFollowTheOrderOfIds) {
  LogitsScan scan;
  for (const Row& row : Rows()) {
    scan.Scan(row.logits, row.inv_temperature);
    for (int i = 0; i < 40; ++i) {
      const double u = i / 40.0 + 0.0123;
      double left = u * scan.sum(), before = 0;
      TokenId expected = -1;
      for (size_t t = 0; t < row.logits.size() && expected < 0; ++t) {
        before = left;
        if ((left -= scan.Weight(row.logits[t])) < 0) expected = static_cast<TokenId>(t);
      }
      const TokenId drawn = scan.DrawAll(u);
      // The block sums are single precision: at a border within 1e-5 of the total either neighbour is right.
      const bool at_border = std::min(before, -left) < 1e-5 * scan.sum();
      EXPECT_TRUE(drawn == expected || at_border) << row.logits.size() << " u " << u << ": " << drawn << " instead of " << expected;
      EXPECT_GT(scan.Weight(row.logits[static_cast<size_t>(drawn)]), 0);
    }
    EXPECT_GT(scan.Weight(row.logits[static_cast<size_t>(scan.DrawAll(std::nextafter(1.0, 0.0)))]), 0);
  }
}

TEST(LogitsScan, LikeliestInOrder) {
  LogitsScan scan;
  for (const Row& row : Rows()) {
    const Plain plain(row);
    for (const size_t count : {size_t{0}, size_t{1}, size_t{5}, size_t{20}, size_t{700}, row.logits.size() + 3}) {
      scan.Scan(row.logits, row.inv_temperature);
      const std::span<const Candidate> top = scan.Likeliest(count);
      ASSERT_EQ(top.size(), std::min(count, row.logits.size()));
      for (size_t i = 0; i < top.size(); ++i) ASSERT_EQ(top[i].token, plain.order[i].token) << row.logits.size() << " " << i;
    }
  }
}

TEST(LogitsScan, RowsThatHoldNoDistribution) {
  LogitsScan scan;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> row(3000, 0.5f);
  scan.Scan(row, 1);
  EXPECT_TRUE(scan.usable());
  for (const float bad : {nan, kInfinity}) {
    row[2999] = bad;
    scan.Scan(row, 1);
    EXPECT_FALSE(scan.usable());
    std::fill(row.begin() + 1024, row.begin() + 2048, -kInfinity);
    row[2999] = 0.5f;
    row[1500] = bad;
    scan.Scan(row, 1);
    EXPECT_FALSE(scan.usable());
    std::fill(row.begin(), row.end(), 0.5f);
  }
  std::fill(row.begin(), row.end(), -kInfinity);
  scan.Scan(row, 1);
  EXPECT_FALSE(scan.usable());
}

TEST(LogitsScan, AMaskOnlySavesWork) {
  std::mt19937 rng(11);
  std::normal_distribution<float> normal(0, 3);
  for (const size_t n : {1, 31, 1024, 1025, 5000, 49152})
    for (const size_t left : {1, 3, 200}) {
      std::vector<float> logits(n);
      for (float& x : logits) x = normal(rng);
      std::vector<uint32_t> allowed((n + 31) / 32);
      for (size_t i = 0; i < left; ++i) {
        const size_t token = rng() % n;
        allowed[token / 32] |= uint32_t{1} << token % 32;
      }
      for (size_t i = 0; i < n; ++i)
        if ((allowed[i / 32] >> i % 32 & 1) == 0) logits[i] = -kInfinity;
      while (allowed.back() == 0) allowed.pop_back();  // what lies beyond is forbidden
      LogitsScan plain, masked;
      plain.Scan(logits, 0.7f);
      masked.Scan(logits, 0.7f, allowed);
      ASSERT_TRUE(plain.usable() && masked.usable());
      EXPECT_EQ(plain.max(), masked.max());
      EXPECT_EQ(plain.sum(), masked.sum());
      for (const double u : {0.0, 0.2, 0.5, 0.9, 0.999999}) {
        EXPECT_EQ(plain.DrawAll(u), masked.DrawAll(u));
        EXPECT_EQ(plain.DrawFiltered({40, 0.9, 0.01}, u), masked.DrawFiltered({40, 0.9, 0.01}, u));
      }
      const auto likeliest = masked.Likeliest(n);
      ASSERT_EQ(likeliest.size(), n);
    }
  const std::vector<float> two = {1, -kInfinity};
  LogitsScan scan;
  scan.Scan(two, 1, std::vector<uint32_t>{0});
  EXPECT_FALSE(scan.usable());
}

}  // namespace
}  // namespace sgl
