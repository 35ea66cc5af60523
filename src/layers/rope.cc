// SPDX-License-Identifier: Apache-2.0
#include "layers/rope.h"

#include <fmt/core.h>

#include <cmath>
#include <numbers>
#include <string>

namespace sgl {
namespace {

constexpr double kTwoPi = 2 * std::numbers::pi;

// Llama 3.1: long wavelengths are divided by `factor`, short ones kept, those between interpolated.
void ScaleLlama3(const Json& scaling, int64_t max_position, std::vector<double>& freq) {
  const double factor = scaling.get_double("factor", 1), low = scaling.get_double("low_freq_factor", 1);
  const double high = scaling.get_double("high_freq_factor", 4);
  const double original = scaling.get_double("original_max_position_embeddings", static_cast<double>(max_position));
  for (double& f : freq) {
    const double wavelength = kTwoPi / f;
    if (wavelength < original / high) continue;
    if (wavelength > original / low) {
      f /= factor;
      continue;
    }
    const double smooth = high == low ? 0 : (original / wavelength - low) / (high - low);
    f = (1 - smooth) * f / factor + smooth * f;
  }
}

// YaRN: dimension i is interpolated (f/factor), extrapolated (f) or blended, by how often it turns within the original context.
float ScaleYarn(const Json& scaling, double base, int width, int64_t max_position, std::vector<double>& freq) {
  const double factor = scaling.get_double("factor", 1);
  const double original = scaling.get_double("original_max_position_embeddings", static_cast<double>(max_position));
  const auto dimension = [&](double rotations) { return width * std::log(original / (rotations * kTwoPi)) / (2 * std::log(base)); };
  double low = dimension(scaling.get_double("beta_fast", 32)), high = dimension(scaling.get_double("beta_slow", 1));
  if (scaling.get_bool("truncate", true)) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(width - 1));
  if (low == high) high += 0.001;
  for (size_t i = 0; i < freq.size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    freq[i] = freq[i] / factor * ramp + freq[i] * (1 - ramp);
  }
  if (const Json& given = scaling["attention_factor"]; given.is_number()) return static_cast<float>(given.as_double());
  const auto magnitude = [&](double mscale) { return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0; };
  const Json &mscale = scaling["mscale"], &mscale_all = scaling["mscale_all_dim"];
  if (mscale.is_number() && mscale_all.is_number() && mscale.as_double() != 0 && mscale_all.as_double() != 0)
    return static_cast<float>(magnitude(mscale.as_double()) / magnitude(mscale_all.as_double()));
  return static_cast<float>(magnitude(1) * scaling.get_double("attn_factor", 1));
}

}  // namespace

Result<Rope> Rope::FromConfig(const Json& config, int head_width, int64_t max_position) {
  const Json& modern = config["rope_parameters"];
  const Json& scaling = modern.is_object() ? modern : config["rope_scaling"];
  const double base =
      modern.is_object() ? modern.get_double("rope_theta", config.get_double("rope_theta", 10000)) : config.get_double("rope_theta", 10000);
  const double partial = modern.get_double("partial_rotary_factor", config.get_double("partial_rotary_factor", 1));
  const int width = partial < 1 ? static_cast<int>(head_width * partial) : head_width;
  if (width < 2 || width % 2 != 0) return InvalidArgument(fmt::format("rotary width {} must be even and at least 2 (head_dim)", width));
  if (!(base > 1)) return InvalidArgument(fmt::format("rope_theta must be above 1, got {}", base));

  std::string type = "default";
  if (scaling.is_object()) {
    type = scaling.get_string("rope_type", scaling.get_string("type", ""));
    if (type.empty() && modern.is_object()) type = "default";
    if (type.empty()) return InvalidArgument("rope_scaling has neither rope_type nor type");
  }
  std::vector<double> freq(static_cast<size_t>(width / 2));
  for (size_t i = 0; i < freq.size(); ++i) freq[i] = std::pow(base, -2.0 * static_cast<double>(i) / width);

  Rope rope;
  if (type == "linear") {
    const double factor = scaling.get_double("factor", 1);
    for (double& f : freq) f /= factor;
  } else if (type == "llama3") {
    ScaleLlama3(scaling, max_position, freq);
  } else if (type == "yarn") {
    rope.magnitude = ScaleYarn(scaling, base, width, max_position, freq);
  } else if (type != "default") {
    return InvalidArgument(fmt::format("rope type '{}' is not supported; known: default, linear, llama3, yarn", type));
  }
  rope.inv_freq.assign(freq.begin(), freq.end());
  return rope;
}

void Rope::Angles(RunContext& ctx, std::span<const int32_t> positions, Mat<float> cos_sin) const {
  const size_t half = inv_freq.size();
  ForRows(ctx, static_cast<int64_t>(positions.size()), 16, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      float* row = cos_sin.row(t);
      for (size_t i = 0; i < half; ++i) {
        // The angle in f32, as transformers has it; the functions in f64.
        const double angle = static_cast<float>(positions[static_cast<size_t>(t)]) * inv_freq[i];
        row[i] = static_cast<float>(std::cos(angle)) * magnitude;
        row[half + i] = static_cast<float>(std::sin(angle)) * magnitude;
      }
    }
  });
}

}  // namespace sgl
