// Any bytes, as pieces of the formats' own markup and as they are, through every format: the events do not depend on the cut, complete
// calls have valid arguments, and both modes tell of the same complete calls.
// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <cstdlib>

#include "text/tools/tool_samples.h"

namespace {

using sgl::ToolEvent;

std::string Run(const sgl::ToolFormat& format, sgl::ToolMode mode, std::string_view text, size_t piece,
                std::vector<sgl::ParsedCall>* calls) {
  const auto parser = format.make(sgl::tools::SampleTools(), mode);
  std::vector<ToolEvent> events;
  for (size_t at = 0; at < text.size(); at += piece) parser->Push(text.substr(at, piece), events);
  parser->Finish(events);
  std::string out;
  for (const ToolEvent& event : events) {
    if (event.kind == ToolEvent::Kind::kCall) calls->push_back({event.text, ""});
    if (event.kind == ToolEvent::Kind::kArguments) calls->back().arguments += event.text;
    if (event.kind == ToolEvent::Kind::kText) out += event.text;
  }
  return out;
}

// Bytes below 0x20 stand for parts of the samples, so that the fuzzer speaks the formats.
std::string Spell(const uint8_t* data, size_t size, const std::string& sample) {
  std::string out;
  for (size_t i = 0; i < size; ++i) {
    if (data[i] >= 0x20 || data[i] == '\n') {
      if (data[i] < 0x80) out += static_cast<char>(data[i]);
    } else if (i + 1 < size) {
      const size_t at = data[i + 1] * sample.size() / 256;
      out += sample.substr(at, data[i] * 2);
      ++i;
    }
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 3) return 0;
  const auto& samples = sgl::tools::ToolSamples();
  const auto& sample = samples[data[0] % samples.size()];
  const sgl::ToolFormat& format = *sgl::FindToolFormat(sample.format);
  const std::string text = Spell(data + 2, size - 2, sample.text);
  for (const sgl::ToolMode mode : {sgl::ToolMode::kStream, sgl::ToolMode::kWhole}) {
    std::vector<sgl::ParsedCall> once, cut;
    const std::string content = Run(format, mode, text, text.size() + 1, &once);
    if (Run(format, mode, text, 1 + data[1] % 16, &cut) != content) abort();
    if (once.size() != cut.size()) abort();
    for (size_t i = 0; i < once.size(); ++i) {
      if (once[i].name != cut[i].name || once[i].arguments != cut[i].arguments) abort();
      if (mode == sgl::ToolMode::kStream) continue;
      bool ascii = true;  // a sample's piece may be half a character
      for (const char c : once[i].arguments) ascii = ascii && static_cast<signed char>(c) >= 0;
      if (const auto json = sgl::ParseJson(once[i].arguments); ascii && (!json.ok() || !json->is_object())) abort();
    }
  }
  return 0;
}
