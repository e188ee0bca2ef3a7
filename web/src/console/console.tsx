import { Link, Route, Switch, useLocation } from "wouter";
import "./console.css";
import { LetterPage } from "./letter";
import { Groups, LetterList } from "./letters";
import { Overview } from "./overview";
import { SagaPage } from "./saga";
import { SagaList } from "./sagas";
import { Waiting } from "./waiting";

const PLACES = [
  ["/console", "Overview"],
  ["/console/sagas", "Sagas"],
  ["/console/letters", "Dead letters"],
  ["/console/waiting", "Waiting"],
] as const;

export default function Console() {
  const [path] = useLocation();
  const here = (href: string) => (href === "/console" ? path === href : path.startsWith(href));
  return (
    <>
      <nav aria-label="Console" className="places">
        {PLACES.map(([href, name]) => (
          <Link key={href} href={href} aria-current={here(href) ? "page" : undefined}>
            {name}
          </Link>
        ))}
      </nav>
      <Switch>
        <Route path="/console" component={Overview} />
        <Route path="/console/sagas" component={SagaList} />
        <Route path="/console/sagas/:id">{({ id }) => <SagaPage key={id} id={id} />}</Route>
        <Route path="/console/letters" component={Groups} />
        <Route path="/console/letters/:service">{({ service }) => <LetterList service={service} />}</Route>
        <Route path="/console/letters/:service/:id">{({ service, id }) => <LetterPage key={`${service}/${id}`} service={service} id={id} />}</Route>
        <Route path="/console/waiting" component={Waiting} />
        <Route>
          <h1>There is no such view</h1>
        </Route>
      </Switch>
    </>
  );
}
