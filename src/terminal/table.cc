#include "terminal/table.h"

#include <algorithm>
#include <numeric>

#include "terminal/inline_style.h"
#include "terminal/text_width.h"
#include "terminal/wrapped_line.h"
#include "text/utf8.h"

namespace flashmoe::terminal {

namespace {

constexpr int kNarrowest = 4;  // columns that a column keeps when the table does not fit

std::string_view trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

std::vector<std::string> cells_of(std::string_view line) {
  line = trim(line);
  if (line.starts_with('|')) line.remove_prefix(1);
  if (line.ends_with('|') && !line.ends_with("\\|")) line.remove_suffix(1);
  std::vector<std::string> cells(1);
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\\' && i + 1 < line.size() && line[i + 1] == '|') {
      cells.back() += line[++i];
    } else if (line[i] == '|') {
      cells.emplace_back();
    } else {
      cells.back() += line[i];
    }
  }
  for (std::string& cell : cells) cell = std::string(trim(cell));
  return cells;
}

struct Cell {
  std::string styled;  // with escape sequences
  std::string plain;
};

// What a cell's Markdown looks like, and what of it takes columns.
Cell style_cell(const std::string& markdown, std::string_view base) {
  Cell cell;
  WrappedLine line(1 << 20, [&](std::string_view text) { cell.styled += text; });
  InlineStyle style(line);
  style.begin(base);
  style.put(markdown);
  style.end();
  line.end();
  cell.styled.pop_back();  // the newline
  bool in_escape = false;
  for (const char c : cell.styled) {
    if (c == '\x1b') in_escape = true;
    if (!in_escape) cell.plain += c;
    if (in_escape && c == 'm') in_escape = false;
  }
  return cell;
}

std::string cut(std::string_view text, int width) {
  int used = 0;
  size_t pos = 0;
  while (pos < text.size()) {
    const int next = code_point_width(text::utf8_decode(text, pos));
    if (used + next > width - 1) break;
    used += next;
    pos += text::utf8_length(static_cast<unsigned char>(text[pos]));
  }
  return std::string(text.substr(0, pos)) + "…";
}

}  // namespace

bool is_table_rule(std::string_view line) {
  return line.find('|') != std::string_view::npos && line.find('-') != std::string_view::npos &&
         line.find_first_not_of(" \t|:-") == std::string_view::npos;
}

std::string draw_table(const std::vector<std::string>& rows, int width) {
  std::vector<std::vector<Cell>> table;
  for (size_t row = 0; row < rows.size(); ++row) {
    if (row == 1) continue;
    std::vector<Cell>& cells = table.emplace_back();
    for (const std::string& cell : cells_of(rows[row])) {
      cells.push_back(style_cell(cell, row == 0 ? "\x1b[1m" : ""));
    }
  }
  const size_t columns = table[0].size();
  std::vector<int> widths(columns, 1);
  for (std::vector<Cell>& row : table) {
    row.resize(columns);
    for (size_t c = 0; c < columns; ++c) widths[c] = std::max(widths[c], text_width(row[c].plain));
  }
  // The widest columns give way.
  const int borders = 3 * static_cast<int>(columns) - 1;
  while (std::accumulate(widths.begin(), widths.end(), borders) > width) {
    const auto widest = std::max_element(widths.begin(), widths.end());
    if (*widest <= kNarrowest) break;
    --*widest;
  }
  std::string out;
  for (size_t row = 0; row < table.size(); ++row) {
    for (size_t c = 0; c < columns; ++c) {
      const Cell& cell = table[row][c];
      const int wide = text_width(cell.plain);
      out += c == 0 ? " " : " │ ";
      out += wide > widths[c] ? cut(cell.plain, widths[c]) : cell.styled;
      if (c + 1 < columns) out.append(static_cast<size_t>(std::max(0, widths[c] - wide)), ' ');
    }
    out += '\n';
    if (row != 0) continue;
    for (size_t c = 0; c < columns; ++c) {
      if (c > 0) out += "┼";
      for (int i = 0; i < widths[c] + 2; ++i) out += "─";
    }
    out += '\n';
  }
  return out;
}

}  // namespace flashmoe::terminal
