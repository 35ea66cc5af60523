// Any text through every reasoning format: nothing depends on the cut, and (but for the tags) nothing is lost.
// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <cstdlib>

#include "text/reasoning/reasoning_parser.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const auto formats = sgl::ReasoningFormats();
  const sgl::ReasoningFormat& format = formats[data[0] % formats.size()];
  const bool inside = (data[0] & 0x80) != 0;
  std::string text;
  for (size_t i = 2; i < size; ++i) {
    const std::string_view tags[] = {format.start, format.end, format.label, format.tool, "<|start|>", "<|channel|>", "<|message|>"};
    if (data[i] < 14)
      text += tags[data[i] / 2].substr(0, data[i] % 2 == 0 ? std::string_view::npos : 3);
    else
      text += static_cast<char>(data[i]);
  }
  const sgl::SplitReasoning whole = sgl::ParseReasoning(format, inside, text);
  const auto parser = sgl::MakeReasoningParser(format, inside);
  std::vector<sgl::ReasoningEvent> events;
  const size_t piece = 1 + data[1] % 16;
  for (size_t at = 0; at < text.size(); at += piece) parser->Push(std::string_view(text).substr(at, piece), events);
  parser->Finish(events);
  sgl::SplitReasoning cut;
  for (const sgl::ReasoningEvent& event : events) (event.reasoning ? cut.reasoning : cut.text) += event.text;
  if (cut.reasoning != whole.reasoning || cut.text != whole.text) abort();
  if (format.harmony || format.prepend) return 0;
  if (whole.text.size() > text.size() || text.compare(text.size() - whole.text.size(), std::string::npos, whole.text) != 0) abort();
  if (whole.reasoning.size() + whole.text.size() > text.size()) abort();
  return 0;
}
