# The plot of docs/figure6.md, from the numbers beside docs/performance.md's: run in docs/performance.
set datafile separator "\t"
set datafile missing "?"
set encoding utf8
set terminal svg size 900, 420 noenhanced font "sans-serif,12" background "#ffffff"
set key outside below horizontal samplen 1
set ylabel "times native"
set yrange [0:*]
set grid ytics lc rgb "#dddddd"
set boxwidth 0.15
set style fill solid 0.8 noborder
set xrange [-0.6:6.6]
set arrow 1 from graph 0, first 1 to graph 1, first 1 nohead lc rgb "#888888" dt 2

do for [pinning in "pinned unpinned"] {
  name = "figure6-".pinning
  if (system("test -f ".name.".tsv && echo 1 || echo 0") eq "0") { continue }
  set output name.".svg"
  set title "Figure 6 of the paper".(pinning eq "pinned" ? ", the work on one CPU" : ", unpinned")
  plot name.".tsv" every ::1 using ($1 - 0.32):3:xtic(2) with boxes lc rgb "#aec7e8" title "outside a pod", \
       name.".tsv" every ::1 using ($1 - 0.16):6 with boxes lc rgb "#1f77b4" title "in a pod", \
       name.".tsv" every ::1 using 1:9 with boxes lc rgb "#17becf" title "in a pod, emulated", \
       name.".tsv" every ::1 using ($1 + 0.16):12 with boxes lc rgb "#c7c7c7" title "paper: outside a pod", \
       name.".tsv" every ::1 using ($1 + 0.32):15 with boxes lc rgb "#7f7f7f" title "paper: in a pod", \
       name.".tsv" every ::1 using ($1 - 0.32):3:4:5 with yerrorbars lc rgb "#333333" pt 0 notitle, \
       name.".tsv" every ::1 using ($1 - 0.16):6:7:8 with yerrorbars lc rgb "#333333" pt 0 notitle, \
       name.".tsv" every ::1 using 1:9:10:11 with yerrorbars lc rgb "#333333" pt 0 notitle
  unset output
}
